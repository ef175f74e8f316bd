"""Ctrl-C in one thread's call costs no other thread anything."""

from __future__ import annotations

from collections import deque
from typing import Any

from scaler.client.callbacks import CallbackThread
from scaler.client.submissions import Submissions
from tests.interruptions import interruptions

BOUND_S = 10.0


def test_ctrl_c_while_a_result_is_opened_leaves_it_to_the_next_thread(session, in_thread):
    future = session.future()
    future.set_result_ready(session.row("value"))
    for where in interruptions(lambda: future.result(BOUND_S)):
        got: list[str] = []
        in_thread(lambda values=got, of=future: values.append(of.result(BOUND_S))).join(BOUND_S)
        assert got == ["value"], where
        future = session.future()
        future.set_result_ready(session.row("value"))


def test_ctrl_c_anywhere_in_a_call_leaves_the_callback_thread_usable(session, in_thread):
    def call() -> None:
        thread.call(done)

    done = session.futures(1)
    done[0].set_error(ValueError())
    thread = CallbackThread("callbacks-to-interrupt")
    thread.call(done)
    for where in interruptions(call, within=("/callbacks.py", "/threading.py")):
        other = in_thread(lambda: thread.call(done))
        other.join(BOUND_S)
        assert not other.is_alive(), where
    assert thread.close(BOUND_S)


def test_a_queue_that_two_threads_empty_loses_nothing():
    class Emptied(deque[Any]):
        """Another thread has been faster."""

        def popleft(self) -> Any:
            if len(self) == 1:
                self.clear()
            return super().popleft()

    submissions = Submissions()
    submissions.waiting = Emptied("abc")
    assert submissions.take_all() == ["a", "b"]
