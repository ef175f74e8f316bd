"""What a client promises, with a real cluster."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import pytest

from scaler import CancelOutcome
from scaler.settings import NAME_CHARACTERS


class TestClient:
    def test_noop_cancel(self, client):
        futures = [client.submit(time.sleep, 60) for _ in range(30)]
        start_s = time.monotonic()
        assert [future.cancel() for future in futures] == [True] * 30
        assert time.monotonic() - start_s < 2
        assert all(future.cancelled() for future in futures)
        assert {future.cancel_outcome for future in futures} == {CancelOutcome.CANCELED}
        assert client.submit(math.sqrt, 4).result(timeout=20) == 2.0

    def test_one_call_cancels_many_and_answers_in_their_order(self, client):
        finished = client.submit(math.sqrt, 4)
        finished.result(timeout=20)
        sleeping = [client.submit(time.sleep, 60) for _ in range(10)]
        answers = client.cancel([*sleeping, finished, sleeping[0]])
        assert answers == [True] * 12
        assert finished.cancel_outcome is CancelOutcome.RELEASED
        assert {future.cancel_outcome for future in sleeping} == {CancelOutcome.CANCELED}

    def test_a_future_of_another_client_can_be_cancelled(self, cluster, client):
        from scaler import Client

        with Client(cluster) as other:
            future = other.submit(time.sleep, 60)
            assert client.cancel([future]) == [True]
            assert future.cancel_outcome is CancelOutcome.CANCELED

    def test_wrong_arguments_are_refused_and_cost_the_client_nothing(self, client):
        slow = client.submit(time.sleep, 60)
        for arguments in ({"timeout": "x"}, {"grace": "x"}):
            with pytest.raises(TypeError, match=f"cancel: {next(iter(arguments))} must be"):
                client.cancel([slow], **arguments)
        with pytest.raises(TypeError, match="name must be a str"):
            client.options(name=3)
        assert client.options(name="x" * NAME_CHARACTERS).submit(abs, -1).result(timeout=20) == 1
        assert client.cancel([slow], grace=Fraction(1)) == [True]

    def test_results_come_in_any_number(self, client):
        futures = [client.submit(math.sqrt, number) for number in range(5_000)]
        assert sum(future.result(timeout=20) for future in futures) > 0
        assert "0 tasks and 0 bytes in flight" in repr(client)
