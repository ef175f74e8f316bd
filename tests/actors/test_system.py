"""An actor system as a program uses it."""

import ctypes
import os
import signal
import sys

import pytest

from actors import (
    Actor,
    ActorFailedError,
    ActorNotFoundError,
    ActorRef,
    ActorsError,
    ActorStoppedError,
    ActorSystem,
    DeferredReply,
    NodeThread,
    SystemClosedError,
    handles,
)
from actors.testkit import Probe


class Late(Actor):
    """Keeps its askers waiting."""

    def __init__(self) -> None:
        self.replies: list[DeferredReply] = []

    @handles(str)
    def on_text(self, text: str) -> None:
        self.replies.append(self.context.defer_reply())


def test_the_counters_of_a_mailbox_can_be_read() -> None:
    with ActorSystem() as system:
        probe = Probe(system)
        for number in range(3):
            probe.ref.tell(number)
        for number in range(3):
            assert probe.expect(int) == number
        statistics = system.mailbox_statistics(probe.ref)
        assert (statistics.handled, statistics.waiting, statistics.rejected) == (3, 0, 0)
        probe.stop()
        stranger = ActorSystem("other")
        with stranger, pytest.raises(ActorNotFoundError, match="probe"):
            stranger.mailbox_statistics(probe.ref)


def test_when_a_node_fails_its_error_is_told_before_anyone_hears_of_the_end() -> None:
    told: list[str] = []
    thread = NodeThread("short", on_broken=lambda error: told.append(f"broken: {error}"))
    system = ActorSystem(thread=thread)
    open_ask = system.spawn(Late).ask("?")
    open_ask.add_done_callback(lambda _: told.append("an ask has ended"))
    thread.loop.fail(OSError("on purpose"))
    with pytest.raises(ActorsError):
        open_ask.result(10)
    assert told == ["broken: on purpose", "an ask has ended"]
    for use in (lambda: system.spawn(Late), lambda: system.call(print)):
        with pytest.raises(SystemClosedError, match=r"system short has ended: .*on purpose"):
            use()
    system.close()


def test_a_node_that_failed_says_so_wherever_one_looks(caplog: pytest.LogCaptureFixture) -> None:
    system = ActorSystem("short")
    late = system.spawn(Late)
    assert repr(system) == "<ActorSystem short, 1 actors here, 0 child nodes>"
    system._loop.fail(OSError("on purpose"))
    system._thread._thread.join(10)
    assert repr(system) == "<ActorSystem short, ended: OSError('on purpose')>"
    with pytest.raises(SystemClosedError, match=r"node short has ended by an error: .*on purpose"):
        late.ask("?")
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("actors", "ERROR")
    assert record.getMessage() == "node short has ended by an error: OSError('on purpose')"
    system.close()
    assert repr(system) == "<ActorSystem short, closed>"


class Careless(Actor):
    """Does what ends a program that is no actor."""

    @handles(str)
    def on_text(self, text: str) -> None:
        if text == "after turn":
            self.context.after_turn(sys.exit)
        elif text == "exit":
            sys.exit(3)
        elif text == "ctrl-c":
            raise KeyboardInterrupt

    @handles(int)
    def on_number(self, number: int) -> None:
        self.context.reply(os.getpid())


@pytest.mark.parametrize("mistake", ["after turn", "exit", "ctrl-c"])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in a child process"])
@pytest.mark.usefixtures("by_value")
def test_no_mistake_in_a_handler_ends_the_node(mistake: str, elsewhere: bool) -> None:
    with ActorSystem() as system:
        node = system.start_node("other") if elsewhere else system.node
        careless, good = node.spawn(Careless), node.spawn(Careless)
        error = careless.ask(mistake).exception(10)
        if mistake == "after turn":
            assert error is None, "it was answered before"
        else:
            assert isinstance(error, ActorFailedError)
            assert error.cause == ("SystemExit(3)" if mistake == "exit" else "KeyboardInterrupt()")
        assert isinstance(careless.ask(1).exception(10), ActorStoppedError)
        assert isinstance(good.ask(1).result(10), int)


@pytest.mark.usefixtures("by_value")
def test_sigint_ends_the_process_of_a_node_between_two_turns() -> None:
    with ActorSystem() as system:
        node = system.start_node("other")
        pid = node.spawn(Careless).ask(1).result(10)
        os.kill(pid, signal.SIGINT)
        assert node.ended.wait(10)
        assert node.exit_cause == "exit code 1"


class Stalled(Actor):
    """Asks nobody who answers, holds the GIL for two seconds, then starts a timer."""

    def __init__(self, silent: ActorRef, probe: ActorRef) -> None:
        self.silent = silent
        self.probe = probe

    @handles(str)
    def on_text(self, message: str) -> None:
        context, probe = self.context, self.probe
        context.ask(self.silent, "?", lambda _: context.tell(probe, "deadline"), timeout_s=1.0)
        ctypes.PyDLL(None).usleep(2_000_000)
        context.start_timer("timer", 0.5, 2.0)

    @handles(float)
    def on_due(self, message: float) -> None:
        self.context.tell(self.probe, "timer")


def test_a_stall_in_the_middle_of_a_turn_makes_no_timer_late() -> None:
    with ActorSystem("stalled") as system:
        probe = Probe(system)
        ref = system.spawn(Stalled, system.spawn(Late), probe.ref)
        ref.tell("go")
        assert [probe.expect(str), probe.expect(str)] == ["timer", "deadline"]
