from __future__ import annotations

import threading

import pytest

from actors import ActorStoppedError, AskTimeoutError, Message, WouldDeadlockError
from actors.testkit import InboxRef


class Knock(Message, frozen=True):
    times: int


def test_an_inbox_records_what_it_is_told() -> None:
    inbox = InboxRef("door")
    inbox.tell(Knock(1))
    inbox.tell("hello")
    assert inbox.messages == [Knock(1), "hello"]
    assert [envelope.sender for envelope in inbox.envelopes] == [None, None]
    inbox.clear()
    assert inbox.messages == []


def test_a_message_can_be_taken_by_its_type() -> None:
    inbox = InboxRef("door")
    for message in ("hello", Knock(1), Knock(2)):
        inbox.tell(message)
    assert inbox.take(Knock) == Knock(1)
    assert inbox.messages == ["hello", Knock(2)]
    with pytest.raises(AssertionError, match="door has no int; it has"):
        inbox.take(int)


def test_two_inboxes_are_different_actors() -> None:
    assert InboxRef("a") != InboxRef("a")
    assert len({InboxRef("a"), InboxRef("a")}) == 2


def test_the_oldest_open_request_is_answered() -> None:
    inbox = InboxRef("door")
    futures = [inbox.ask(Knock(n)) for n in range(3)]
    inbox.asked[0].fail(ActorStoppedError("gone"))
    inbox.answer("come in")
    inbox.asked[2].expire()
    with pytest.raises(ActorStoppedError):
        futures[0].result(0)
    assert futures[1].result(0) == "come in"
    with pytest.raises(AskTimeoutError):
        futures[2].result(0)
    with pytest.raises(AssertionError, match="door has no open request"):
        inbox.answer()


def test_requests_can_be_answered_at_once() -> None:
    inbox = InboxRef(respond=lambda knock: knock.times * 2)
    assert inbox.ask(Knock(2)).result(0) == 4
    assert inbox.messages == [Knock(2)]


def test_an_exception_that_respond_returns_is_the_error() -> None:
    inbox = InboxRef(respond=lambda _: ActorStoppedError("gone"))
    with pytest.raises(ActorStoppedError):
        inbox.ask(Knock(2)).result(0)


def test_only_another_thread_may_wait_for_an_answer() -> None:
    inbox = InboxRef()
    future = inbox.ask(Knock(1))
    with pytest.raises(WouldDeadlockError):
        future.result()
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(future.result(5)))
    thread.start()
    inbox.answer("come in")
    thread.join()
    assert got == ["come in"]


def test_a_stop_is_recorded() -> None:
    inbox = InboxRef()
    assert not inbox.stopped
    inbox.stop()
    assert inbox.stopped
