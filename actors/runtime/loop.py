"""`NodeLoop`: one thread's poll loop around a `NodeCore`, with the links to other nodes."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from actors.core.cell import repr_of
from actors.core.guardian import GUARDIAN_SUPERVISION, Guardian
from actors.core.node import NodeCore
from actors.core.refs import CURRENT_NODE
from actors.limits import IDLE_POLL_S, LOST_WAKE_S, MAILBOX_WAIT_S
from actors.runtime.poller import Poller
from actors.runtime.wakeup import Wakeup

if TYPE_CHECKING:
    from actors.core.cell import Cell
    from actors.runtime.links import Links


class NodeLoop:
    """Runs the turns of one node: sockets, handlers, timers, flush, waiters, sleep.

    All methods belong to the loop's thread, except `post`, `finish` and `NodeCore`'s own.
    """

    def __init__(self, name: str, poller: Poller) -> None:
        """Make the loop and its node; `run` it in the thread that shall own it.

        Args:
            name: the node's name, unique in its system.
            poller: the thread's poller; closed by the caller.
        """
        self.poller = poller
        self._wakeup = Wakeup(self.poller)
        self._thread = 0
        self._posted: deque[Callable[[], None]] = deque()
        self._finished = False
        self._checked_s = time.monotonic()
        self._timeout_s = 0.0
        """How long the next poll may wait."""
        # Entered by itself: Ctrl-C in `Condition.__enter__` would leave it locked for good.
        self._room_lock = threading.Lock()
        self._room = threading.Condition(self._room_lock)
        self._room_wanted = 0
        self.node = NodeCore(
            name,
            clock=time.monotonic,
            wake=self._wake,
            on_own_thread=self.on_own_thread,
            wait_for_room=self._wait_for_room,
        )
        self.node.interruptible = False
        guardian = (self.node, self.finish)
        self.node.spawn(
            Guardian,
            guardian,
            {},
            name="guardian",
            supervision=GUARDIAN_SUPERVISION,
            mailbox_size=None,
            parent=None,
        )
        self._links: Links | None = None
        self.on_failure: Callable[[BaseException], None] = lambda error: None
        """Called when `run` ends by an error, before anybody hears of the end in another way."""
        self.on_second: Callable[[float], None] = lambda now_s: None
        """Called about once a second, with the node's time."""
        self._second_due_s = 0.0

    @property
    def links(self) -> Links:
        """The links, made at first need: a program that stays in one process imports none."""
        if self._links is None:
            from actors.runtime.links import Links

            self._links = Links(self.node, self.poller)
        return self._links

    def on_own_thread(self) -> bool:
        """Whether the caller is the loop's thread."""
        return threading.get_ident() == self._thread

    def post(self, function: Callable[[], None]) -> None:
        """Have `function` called on the loop's thread soon. Thread-safe."""
        self._posted.append(function)
        if self.node.sleeping:
            self._wake()

    def finish(self) -> None:
        """Have `run` return after its turn. Thread-safe."""
        self.post(self._set_finished)

    def fail(self, error: BaseException) -> None:
        """Have `run` raise `error` in its next turn. Thread-safe."""

        def fail() -> None:
            raise error

        self.post(fail)

    def run(self) -> None:
        """Run turns until `finish`, then stop all actors and close what is open."""
        self._thread = threading.get_ident()
        CURRENT_NODE.set(self.node)
        try:
            with self._interrupted_between_turns():
                while not self._finished:
                    self._turn()
            self.node.stop_all()
            if self.node.outgoing:
                self.links.flush()
        except BaseException as error:
            self.node.end_cause = repr_of(error)
            self.on_failure(error)
            raise
        finally:
            self.node.closed = True
            self.node.sleeping = False
            if self._links is not None:
                self._links.close()
            self.node.drain()
            self._wakeup.close()

    def abandon(self) -> None:
        """Close the descriptors in a fork of this process, without a word to anyone."""
        self.node.closed = self.node.abandoned = True
        self.node.sleeping = False
        if self._links is not None:
            self._links.abandon()
        self._wakeup.abandon()

    # --- a turn -----------------------------------------------------------------------------

    def _turn(self) -> None:
        node = self.node
        timeout_s = self._timeout_s
        node.sleeping = True
        if node.ready or node.outgoing or node.wakes or self._posted:
            timeout_s = 0.0
        node.time.expect(self._checked_s + timeout_s)
        ready = self.poller.wait(timeout_s)
        node.time.expect_now()
        node.sleeping = False  # before callbacks tell: this thread need not wake itself
        self.poller.run(ready)
        while self._posted:
            self._posted.popleft()()
        node.run_ready()
        # A thread that holds the GIL in C code stalls this one anywhere in a turn. What arrived
        # meanwhile has been handled by now: only answers that are still to come get more time.
        self._checked_s = node.time.go_on()
        node.time.expect(self._checked_s)
        if self._checked_s >= self._second_due_s:
            self._second_due_s = self._checked_s + 1.0
            self.on_second(node.now())
        node.fire()
        node.run_ready()
        if node.outgoing:
            self.links.flush()
        if self._room_wanted:
            with self._room_lock:
                self._room.notify_all()
        # Looked up before the waiters are woken: then only the poll is left, which lets them run.
        self._timeout_s = self._sleep_s()
        timers = node.timers.last_serial
        node.wake_waiters()
        if node.timers.last_serial != timers:
            self._timeout_s = self._sleep_s()

    def _sleep_s(self) -> float:
        due_s = self.node.next_event_s()
        if due_s is None:
            return LOST_WAKE_S
        return min(max(due_s - self.node.now(), 0.0), IDLE_POLL_S)

    @contextmanager
    def _interrupted_between_turns(self) -> Iterator[None]:
        """Have SIGINT end the loop of a whole process, but not the actor that happens to run."""
        usual = signal.default_int_handler
        in_main_thread = threading.current_thread() is threading.main_thread()
        if not in_main_thread or signal.getsignal(signal.SIGINT) is not usual:
            yield
            return
        signal.signal(signal.SIGINT, lambda *_: self.fail(KeyboardInterrupt()))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)

    def _set_finished(self) -> None:
        self._finished = True

    def _wake(self) -> None:
        self.node.sleeping = False
        self._wakeup.ring()

    def _wait_for_room(self, cell: Cell) -> bool:
        mailbox = cell.mailbox
        self._room_wanted += 1
        try:
            with self._room_lock:
                return self._room.wait_for(
                    lambda: len(mailbox.queue) < mailbox.size or self.node.closed, MAILBOX_WAIT_S
                )
        finally:
            self._room_wanted -= 1
