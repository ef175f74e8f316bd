"""The rules: what may have become of a task, given what was done to it.

The judge knows nothing of the product but its promises. It compares what the futures said with the
stamps that the tasks left, and with the blows that were dealt.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError
from itertools import pairwise

from scaler import SerializationError, TaskTimeoutError, WorkerDiedError
from tests.chaos.facts import Blow, Expect, Facts, Target, Ticket
from tests.chaos.stamps import Begin, Stamps
from tests.chaos.tasks import OwnError

CONFIRMED = ("CANCELED", "RESULT", "RELEASED", "CLOSED")
"""Outcomes after which nothing of the task may run."""

_PID = re.compile(r"\bpid (\d+)")
_CLOCKS_S = 0.005
"""By so much the clocks of two processes may disagree about one moment."""


class Judge:
    """Judges one chapter, after all of it has ended."""

    def __init__(self, facts: Facts, stamps: Stamps) -> None:
        """Read the record and the stamps."""
        self._facts = facts
        self._stamps = stamps
        self._begins = stamps.begins()
        self._at_launcher = [blow for blow in facts.blows if blow.target is Target.LAUNCHER]
        self._at_pid: dict[int, list[Blow]] = {}
        for blow in facts.blows:
            if blow.target is Target.EXECUTOR:
                self._at_pid.setdefault(blow.pid, []).append(blow)
        self.outcomes: Counter[str] = Counter()
        self.rerun = 0
        """Starts that followed a lost or failed one."""

    def complaints(self) -> Iterator[str]:
        """Yield a sentence for each broken promise."""
        yield from self._facts.complaints
        for ticket in self._facts.tickets:
            begins = self._begins.get(ticket.index, [])
            self.rerun += max(0, len(begins) - 1)
            for complaint in (*self._of_runs(ticket, begins), *self._of_outcome(ticket, begins)):
                story = "; ".join(self._story(ticket, begins))
                yield f"task {ticket.index} ({ticket.kind}) {complaint}. {story}"

    # --- how often it ran -------------------------------------------------------------------

    def _of_runs(self, ticket: Ticket, begins: list[Begin]) -> Iterator[str]:
        blamed = 0
        for number, (begin, following) in enumerate(pairwise(begins), 1):
            reason = self._why_again(ticket, number, begin, following.at_ns)
            blamed += reason == "blamed"
            if not reason:
                yield f"ran again after attempt {number}, which nothing had happened to"
        if blamed >= ticket.max_attempts:
            yield f"ran {blamed + 1} times, {ticket.max_attempts} are allowed"
        late_ns = self._stamps.last_alive_ns(ticket.index) - (ticket.cancelled_ns or 2**63)
        if late_ns > 0 and ticket.outcome in CONFIRMED:
            yield f"acted {late_ns / 1e6:.3f} ms after its cancel was confirmed ({ticket.outcome})"

    def _why_again(self, ticket: Ticket, number: int, begin: Begin, next_ns: int) -> str:
        """Why there was another attempt after this one, or nothing: there was no reason."""
        if any(blow.happened_within(begin.at_ns, next_ns) for blow in self._at_launcher):
            return "blameless"
        if number <= ticket.own_failures:
            return "failed"
        if number <= ticket.own_crashes or self._was_hit(begin.pid, begin.at_ns, next_ns):
            return "blamed"
        return ""

    def _was_hit(self, pid: int, from_ns: int, to_ns: int) -> bool:
        return any(blow.happened_within(from_ns, to_ns) for blow in self._at_pid.get(pid, ()))

    # --- what its future said ---------------------------------------------------------------

    def _of_outcome(self, ticket: Ticket, begins: list[Begin]) -> Iterator[str]:
        if ticket.is_item:
            return
        if not ticket.answered:
            yield "has no answer"
            return
        if ticket.resolutions != 1:
            yield f"called its callback {ticket.resolutions} times"
        if ticket.cancelled_ns is not None:
            yield from self._of_cancelled(ticket)
            return
        error = ticket.error
        self.outcomes["value" if error is None else type(error).__name__] += 1
        if error is None:
            yield from self._of_value(ticket)
        elif isinstance(error, WorkerDiedError):
            yield from self._of_death(ticket, begins, str(error))
        elif isinstance(error, TaskTimeoutError):
            yield from self._of_timeout(ticket)
        elif not _is_expected(ticket, error):
            yield f"ended with {error!r} instead of {ticket.expects.value}"

    def _of_cancelled(self, ticket: Ticket) -> Iterator[str]:
        self.outcomes[f"cancelled: {ticket.outcome.lower().replace('_', ' ')}"] += 1
        if not isinstance(ticket.error, CancelledError):
            yield f"was cancelled, and answers {ticket.error or ticket.result!r}"
        if ticket.outcome not in CONFIRMED and not ticket.impatient:
            yield f"was cancelled with the outcome {ticket.outcome}"

    def _of_value(self, ticket: Ticket) -> Iterator[str]:
        if ticket.expects is not Expect.VALUE:
            yield f"returned {_short(ticket.result)} instead of {ticket.expects.value}"
        elif ticket.result != ticket.value:
            yield f"returned {_short(ticket.result)} instead of {_short(ticket.value)}"
        if self._facts.printed[ticket.index] < ticket.lines:
            yield f"printed {ticket.lines} lines, {self._facts.printed[ticket.index]} arrived"

    def _of_death(self, ticket: Ticket, begins: list[Begin], text: str) -> Iterator[str]:
        """Whether the causes are true, and enough."""
        crashed = {begin.pid for begin in begins[: ticket.own_crashes]}
        blamed = 0
        for pid in map(int, _PID.findall(text)):
            hit = self._was_hit(pid, ticket.submitted_ns, ticket.resolved_ns)
            blamed += hit or pid in crashed
            if not (hit or pid in crashed or self._at_launcher):
                yield f"blames the death of process {pid}, which nobody killed: {text}"
        once = ticket.max_attempts == 1 and self._at_launcher
        if blamed < ticket.max_attempts and not once:
            yield f"was given up after {blamed} deaths, not {ticket.max_attempts}: {text}"

    def _of_timeout(self, ticket: Ticket) -> Iterator[str]:
        took_s = (ticket.resolved_ns - ticket.submitted_ns) / 1e9
        if ticket.limit_s is None or took_s < ticket.limit_s - _CLOCKS_S:
            yield f"timed out after {took_s:.3f} s, its limit is {ticket.limit_s} s: {ticket.error}"
        late_ns = self._stamps.last_alive_ns(ticket.index) - ticket.resolved_ns
        if late_ns > 0:
            yield f"acted {late_ns / 1e6:.3f} ms after it had timed out"

    # --- for people -------------------------------------------------------------------------

    def _story(self, ticket: Ticket, begins: list[Begin]) -> Iterator[str]:
        """Tell what is known, in seconds since it was submitted."""
        start_ns = ticket.submitted_ns
        for begin in begins:
            yield f"began at {(begin.at_ns - start_ns) / 1e9:.3f} s in {begin.pid}"
            for blow in self._at_pid.get(begin.pid, ()):
                yield f"{begin.pid} was killed at {(blow.before_ns - start_ns) / 1e9:.3f} s"
        for blow in self._at_launcher:
            if blow.happened_within(start_ns, ticket.resolved_ns or 2**63):
                yield f"the launcher was killed at {(blow.before_ns - start_ns) / 1e9:.3f} s"
        if last_ns := self._stamps.last_alive_ns(ticket.index):
            yield f"acted last at {(last_ns - start_ns) / 1e9:.3f} s"
        yield f"resolved at {(ticket.resolved_ns - start_ns) / 1e9:.3f} s"


def _is_expected(ticket: Ticket, error: BaseException) -> bool:
    if ticket.expects is Expect.OWN_ERROR:
        return isinstance(error, OwnError) and error.args == (ticket.index,)
    return ticket.expects is Expect.NOT_PICKLED and isinstance(error, SerializationError)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else f"{text[:57]}..."
