"""A signal in the middle of a call costs that call, and nobody else anything."""

from __future__ import annotations

import sys
import threading

from actors import Actor, ActorSystem, NodeThread, handles
from actors.core.refs import LocalRef
from tests.interruptions import interruptions

BOUND_S = 10.0


class Echo(Actor):
    @handles(str)
    def on_text(self, text: str) -> None:
        self.context.reply(text)


def test_ctrl_c_anywhere_in_a_tell_leaves_the_actor_and_its_node_awake(until):
    with ActorSystem() as system:
        echo = system.spawn(Echo)
        node = system._core
        points = 0
        for where in interruptions(lambda: echo.tell("interrupted")):
            answer = echo.ask("?")
            assert answer.result(BOUND_S) == "?", where
            until(lambda: node.sleeping)
            points += 1
        assert points > 5


def test_ctrl_c_anywhere_in_a_stop_does_not_keep_it_from_being_stopped(until):
    with ActorSystem() as system:

        def stop() -> None:
            echo.stop()

        node = system._core
        echo = system.spawn(Echo)
        until(lambda: node.sleeping)
        for _ in interruptions(stop):
            echo.stop()
            assert isinstance(echo, LocalRef)
            until(lambda cell=echo.cell: cell.actor is None)
            echo = system.spawn(Echo)
            until(lambda: node.sleeping)


def test_a_signal_handler_may_close_the_system_that_is_being_closed():
    def close() -> None:
        system.close()

    system = ActorSystem()
    for _ in interruptions(close, close):
        assert not system._thread.is_alive()
        system = ActorSystem()


def test_ctrl_c_anywhere_in_a_close_leaves_one_that_ends_all():
    def close() -> None:
        system.close()

    system = ActorSystem()
    for where in interruptions(close):
        system.close()
        system._thread._thread.join(BOUND_S)
        assert not system._thread.is_alive(), where
        system = ActorSystem()


def test_ctrl_c_while_a_thread_comes_up_ends_it(until):
    def start() -> None:
        NodeThread("interrupted").close()

    def running() -> list[threading.Thread]:
        threads = threading.enumerate()
        return [one for one in threads if one.name == "node-interrupted" and one.ident]

    def ctrl_c_once_it_runs() -> None:
        if sys._getframe(2).f_code.co_qualname == "Event.wait":  # for its sign of life
            until(running)
            raise KeyboardInterrupt

    for where in interruptions(start, ctrl_c_once_it_runs, within=("/threading.py",)):
        until(lambda: not running())
        if where.startswith("Event.wait"):
            return
    raise AssertionError("the wait for the thread's sign of life was never interrupted")
