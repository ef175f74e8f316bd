"""`Cell`: the life of one actor, from its first message to its last."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Hashable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from actors.actor import Actor
from actors.core.context import CellContext, CellReply
from actors.core.refs import LocalRef
from actors.errors import ActorFailedError, ActorStoppedError
from actors.limits import MESSAGES_PER_RUN, SLOW_HANDLER_S
from actors.mailbox import Mailbox
from actors.messages import Envelope, Reply
from actors.ref import ActorRef, Address
from actors.signals import DeadLetterReason, Terminated, TerminationReason
from actors.supervision import Supervision, may_restart

if TYPE_CHECKING:
    from actors.core.node import NodeCore

_log = logging.getLogger("actors")


class CellState(IntEnum):
    """Where an actor is in its life."""

    RUNNING = 0
    STOPPED = 1


class Cell:
    """One actor with its mailbox, children, timers and watchers. Owned by its node's thread."""

    __slots__ = (
        "__weakref__",
        "actor",
        "catch_all",
        "cause",
        "children",
        "context",
        "current",
        "deferred",
        "factory",
        "handlers",
        "has_end_of_turn",
        "mailbox",
        "must_reply",
        "node",
        "parent",
        "rare_handlers",
        "reason",
        "ref",
        "restarts_s",
        "scheduled",
        "state",
        "stop_requested",
        "supervision",
        "timers",
        "watchers",
        "watching",
    )

    def __init__(
        self,
        node: NodeCore,
        address: Address,
        factory: Callable[[], Actor],
        *,
        supervision: Supervision,
        mailbox_size: int | None,
        parent: Cell | None,
    ) -> None:
        """Make the cell; `start` brings the actor to life."""
        self.node = node
        self.factory = factory
        self.supervision = supervision
        self.parent = parent
        self.mailbox = Mailbox(mailbox_size)
        self.ref = LocalRef(address, self)
        self.context = CellContext(self)
        self.children: dict[int, Cell] = {}
        self.watchers: dict[ActorRef, None] = {}
        self.watching: dict[ActorRef, None] = {}
        self.timers: dict[Hashable, tuple[int, Any]] = {}
        self.deferred: dict[int, CellReply] = {}
        self.restarts_s: list[float] = []
        self.current: Envelope | None = None
        self.must_reply = False
        self.scheduled = False
        self.stop_requested = False
        self.state = CellState.RUNNING
        self.reason = TerminationReason.STOPPED
        self.cause = ""

    def start(self) -> None:
        """Make the actor and run its `on_start`; what either raises goes to the caller."""
        self.actor = self.factory()
        self.actor.context = self.context
        actor_class = type(self.actor)
        self.handlers = dict(actor_class.handlers)
        self.catch_all = self.handlers.pop(object, None)
        # Apart, since it is to be looked at whether the end is still watched for.
        on_end = self.handlers.pop(Terminated, None)
        self.rare_handlers = {} if on_end is None else {Terminated: on_end}
        self.has_end_of_turn = actor_class.end_of_turn is not Actor.end_of_turn
        self.actor.on_start()

    def run(self) -> None:
        """Handle the messages present now, at most `MESSAGES_PER_RUN`."""
        self.scheduled = False
        ends = self.stop_requested or self.state is CellState.STOPPED
        if ends:  # before it looks at its messages
            self.terminate()
            self.drain()
            return
        queue = self.mailbox.queue
        waiting = len(queue)
        if waiting > self.mailbox.peak:
            self.mailbox.peak = waiting
        handlers, clock, slow_s = self.handlers, self.node.clock, SLOW_HANDLER_S
        begun = clock()
        handled = 0
        for _ in range(min(waiting, MESSAGES_PER_RUN)):
            item = queue.popleft()
            handled += 1
            try:
                if (
                    type(item) is Envelope
                    and not item.request
                    and (handler := handlers.get(type(item.message))) is not None
                ):  # what `handle` does with a tell, without its calls: most messages are tells
                    self.current = item
                    handler(self.actor, item.message)
                else:
                    self.handle(item)
            except BaseException as error:
                self.failed(failure_of(self, error))
            ended = clock()
            if ended - begun > slow_s:
                _warn_slow(self.ref.name, item, ended - begun)
            begun = ended
            if self.stop_requested:
                break
        self.current = None
        self.mailbox.handled += handled
        if self.has_end_of_turn or self.stop_requested:
            self.end_run()
        if queue and not self.scheduled:
            self.node.schedule(self)

    def handle(self, item: Envelope | Reply) -> None:
        """Handle one message or one reply."""
        if type(item) is Reply:
            self._handle_reply(item)
            return
        assert type(item) is Envelope
        message = item.message
        kind = type(message)
        if kind is Terminated and not self._still_watches(message.ref):
            return
        self.current = item
        self.must_reply = item.request != 0
        try:
            handler = self.handlers.get(kind) or self.rare_handlers.get(kind) or self.catch_all
            if handler is None:
                self._unhandled(item)
            else:
                handler(self.actor, message)
        except BaseException as error:
            self.failed(failure_of(self, error))
        if self.must_reply:
            self.context.reply(None)
        self.current = None

    def end_run(self) -> None:
        """Run the actor's `end_of_turn`; end the actor if it was asked to stop."""
        if self.has_end_of_turn and not self.stop_requested:
            try:
                self.actor.end_of_turn()
            except BaseException as error:
                self.failed(failure_of(self, error))
        if self.stop_requested:
            self.terminate()

    def failed(self, error: Exception) -> None:
        """The actor raised: tell the asker, then restart or stop."""
        if self.must_reply:
            text = "".join(traceback.format_exception(error))
            self.context.reply(ActorFailedError(_repr(error), text))
        failure: Exception | None = error
        log_s, now = self.restarts_s, self.node.now
        while failure is not None and may_restart(self.supervision, log_s, now()):
            _log.warning("actor %s failed and is restarted: %s", self.ref.name, _repr(failure))
            failure = self._restart()
        if failure is not None:
            self.cause = _repr(failure)
            self.reason = TerminationReason.FAILED
            self.stop_requested = True
            name = self.ref.name
            _log.error("actor %s failed and is stopped: %s", name, self.cause, exc_info=failure)

    def _restart(self) -> Exception | None:
        """Let a new instance take over; return what its start raised."""
        self.let_go()
        try:
            self.start()
        except BaseException as error:
            return failure_of(self, error)
        return None

    def terminate(self) -> None:
        """End the actor: children first, then `on_stop`, then the watchers are told."""
        if self.state is CellState.STOPPED:
            return
        self.state = CellState.STOPPED
        self.let_go()
        try:
            self.actor.on_stop()
        except BaseException as error:
            self.reason, self.cause = TerminationReason.FAILED, _repr(failure_of(self, error))
            _log.exception("actor %s failed in on_stop", self.ref.name)
        self.node.forget(self)
        self.drain()
        terminated = Terminated(self.ref, self.reason, self.cause)
        for watcher in self.watchers:
            watcher.deliver(Envelope(terminated, self.ref))
        self.watchers.clear()
        self.release()

    def release(self) -> None:
        """Let the instance go, and what it was made of: refs outlive it by far."""
        self.actor = self.factory = None  # type: ignore[assignment]

    def let_go(self) -> None:
        """Give up what one instance of the actor held."""
        for child in reversed(list(self.children.values())):
            child.terminate()
        self.node.timers.cancel_all(self)
        self.node.asks.forget(self)
        for ref in list(self.watching):
            self.context.unwatch(ref)
        for reply in list(self.deferred.values()):
            reply.fail(_stopped_error(self))

    def drain(self) -> None:
        """Turn what still waits in a stopped actor's mailbox into dead letters."""
        queue = self.mailbox.queue
        while queue:
            item = queue.popleft()
            if type(item) is Envelope:
                if item.request and item.sender is not None:
                    item.sender.deliver(Reply(item.request, _stopped_error(self)))
                self.node.dead_letters.add(item, self.ref.name, DeadLetterReason.STOPPED)

    def _still_watches(self, ref: ActorRef) -> bool:
        """Whether the end of `ref` is still to be told here; it is told once."""
        if self.watching.pop(ref, self) is self:
            return False
        self.node.watches.forget(ref, self.ref)
        return True

    def _handle_reply(self, reply: Reply) -> None:
        ask = self.node.asks.take(reply.request)
        if ask is None:
            late = Envelope(reply.message)
            self.node.dead_letters.add(late, self.ref.name, DeadLetterReason.LATE_REPLY)
            return
        self.current = None
        try:
            ask.then(reply.message)
        except BaseException as error:
            self.failed(failure_of(self, error))

    def _unhandled(self, item: Envelope) -> None:
        if self.must_reply:
            kind = type(item.message).__qualname__
            error = ActorFailedError(f"{type(self.actor).__qualname__} has no handler for {kind}")
            self.context.reply(error)
        self.node.dead_letters.add(item, self.ref.name, DeadLetterReason.UNHANDLED)


def failure_of(cell: Cell, error: BaseException) -> Exception:
    """Return what counts as the failure of an actor whose code raised `error`.

    What is no `Exception`, such as `SystemExit`, means more than an actor: it becomes the cause of
    one, and goes no further. Only Ctrl-C does, in a thread that it reaches.
    """
    if isinstance(error, Exception):
        return error
    if isinstance(error, KeyboardInterrupt) and cell.node.interruptible:
        raise error
    failure = ActorFailedError(repr_of(error))
    failure.__cause__ = error
    return failure


def call_back(cell: Cell, callback: Callable[[], None]) -> None:
    """Call what an actor has left with `after_turn`; what that raises is the actor's failure."""
    try:
        callback()
    except BaseException as error:
        failure = failure_of(cell, error)
        if cell.state is CellState.STOPPED:
            name = cell.ref.name
            _log.error("stopped actor %s failed in after_turn", name, exc_info=failure)
            return
        cell.failed(failure)
        if cell.stop_requested:
            cell.terminate()


def _stopped_error(cell: Cell) -> ActorStoppedError:
    why = f": {cell.cause}" if cell.cause else ""
    return ActorStoppedError(f"actor {cell.ref.name} has stopped{why}")


def _repr(failure: Exception) -> str:
    """Return what an actor has failed with, in words."""
    if type(failure) is ActorFailedError and not isinstance(failure.__cause__, Exception | None):
        return failure.cause  # see `failure_of`
    return repr_of(failure)


def repr_of(error: BaseException) -> str:
    """Return `repr(error)`, also of one whose own code fails at it."""
    try:
        return repr(error)
    except BaseException:
        return f"<{type(error).__qualname__} whose repr fails>"


def _warn_slow(name: str, item: Envelope | Reply, seconds: float) -> None:
    _log.warning(
        "actor %s took %.3f s to handle %s; handlers must not block, "
        "do long work in another process",
        name,
        seconds,
        type(item.message).__qualname__,
    )
