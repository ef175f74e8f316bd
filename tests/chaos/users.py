"""A user of the cluster: a thread that opens clients of its own, works with them, closes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from contextlib import closing
from functools import partial
from itertools import islice
from random import Random
from typing import Any

from scaler import Client, LocalCluster, ScalerFuture
from tests.chaos import tasks
from tests.chaos.facts import Expect, Facts, Ticket
from tests.chaos.nemesis import Prey
from tests.chaos.plan import Call, Options, draw_call, max_attempts

BOUND_S = 90.0
"""Nothing that a user waits for takes longer; with starved processors and frozen launchers."""

_LOOK_S = 0.5
"""How often it is looked whether the chapter is over."""

_WAYS = {"map": 4, "imap": 2, "imap, left early": 2, "map that raises": 2}
"""Ways to map, and how often each is gone."""

Work = list[tuple[Ticket, ScalerFuture]]


class User(threading.Thread):
    """Works until the chapter ends, and notes what comes of it."""

    def __init__(
        self,
        name: str,
        seed: str,
        cluster: LocalCluster,
        options: Options,
        facts: Facts,
        directory: str,
        prey: Prey,
        is_over: Callable[[], bool],
    ) -> None:
        """Make a user; `start` sends it to work, and it ends after `is_over()`."""
        super().__init__(name=name, daemon=True)
        self._rng = Random(seed)
        self._cluster = cluster
        self._options = options
        self._facts = facts
        self._directory = directory
        self._prey = prey
        self._is_over = is_over
        self._is_patient = self._rng.random() < 0.5
        """Waits for all answers, also when the chapter is over."""
        self._at_once = 30 if options.recycle == 1 else 1000
        """Tasks of one job, at most: fewer if each needs a process of its own."""

    def run(self) -> None:
        """Open a client, do some jobs, close it; again and again."""
        try:
            while not self._is_over():
                self._visit()
        except Exception as error:
            self._facts.complain(f"{self.name} met {error!r}")
            raise

    def _visit(self) -> None:
        rng = self._rng
        jobs = rng.choices((self._burst, self._map), (4, 1), k=rng.randint(1, 6))
        left: Work = []
        with Client(self._cluster) as client:
            self._facts.count("clients")
            for job in jobs:
                if self._is_over():
                    break
                job(client)
            if rng.random() < 0.3:  # leaves in the middle of its work
                left = self._submit(client, rng.randint(1, 30))
        closed_ns = time.monotonic_ns()
        for ticket, future in left:
            if future.cancelled():
                ticket.cancelled_ns = closed_ns
                ticket.outcome = "CLOSED"
                self._facts.count("cancels by close")
        self._gather(left)

    # --- submits ----------------------------------------------------------------------------

    def _burst(self, client: Client) -> None:
        """Submit many, cancel some, take what comes."""
        work = self._submit(client, self._rng.choice((1, 10, 50, 200, 500)))
        share = self._options.cancel_share * self._rng.uniform(0.0, 2.0)
        victims = [pair for pair in work if self._rng.random() < share]
        if self._rng.random() < 0.4:
            self._cancel_batch(client, victims)
        else:
            self._cancel_one_by_one(victims)
        self._gather(work, client)

    def _submit(self, client: Client, number: int) -> Work:
        indices = self._facts.indices(min(number, self._at_once)) or ()
        work: Work = []
        for index in indices:
            if self._is_over():
                break
            call = draw_call(self._rng, self._options)
            ticket = self._facts.add(_ticket(index, call))
            if call.hunted:
                self._prey.add(index, call.hunted)
            view = client.options(**call.policy) if call.policy else client
            ticket.submitted_ns = time.monotonic_ns()
            future = view.submit(call.function, self._directory, index, *call.arguments)
            future.add_done_callback(partial(_note_resolution, ticket))
            work.append((ticket, future))
        self._facts.count("tasks", len(work))
        return work

    def _gather(self, work: Work, client: Client | None = None) -> None:
        """Take all answers; when the chapter is over, some cancel what is open.

        The futures are let go: results may be large.
        """
        not_done = self._await_all(work, client)
        for future in not_done:
            self._facts.complain(f"nothing came within {BOUND_S:g} s: {future!r}")
        for ticket, future in work:
            if future in not_done:
                continue
            try:
                ticket.error = future.exception(0)
                ticket.result = future.result(0) if ticket.error is None else None
            except CancelledError as error:
                ticket.error = error
            ticket.answered = True
            if isinstance(ticket.result, bytes) and ticket.result == ticket.value:
                ticket.result = ticket.value = None  # right, and large

    def _await_all(self, work: Work, client: Client | None) -> set[Future[Any]]:
        """Wait until all are done; return those that are not within the bound."""
        deadline_s = time.monotonic() + BOUND_S
        while True:
            not_done = wait([future for _, future in work], _LOOK_S).not_done
            if not not_done or time.monotonic() > deadline_s:
                return not_done
            if client is not None and self._is_over() and not self._is_patient:
                self._cancel_batch(client, [pair for pair in work if pair[1] in not_done])
                client = None

    # --- cancels ----------------------------------------------------------------------------

    def _cancel_one_by_one(self, victims: Work) -> None:
        for ticket, future in victims:
            time.sleep(self._rng.choice((0.0, 0.0, 0.001, 0.01)))  # meet them in all states
            force = self._rng.random() < 0.85
            grace = self._rng.choice((None, None, 0.0, 0.05))
            ticket.impatient = self._rng.random() < 0.05
            timeout = 0.0 if ticket.impatient else BOUND_S
            if future.cancel(force=force, timeout=timeout, grace=grace):
                _note_cancel(ticket, future)
            elif force:
                self._facts.complain(f"could not be cancelled: {future!r}")
            self._facts.count("cancels, single")

    def _cancel_batch(self, client: Client, victims: Work) -> None:
        if not victims:
            return
        futures = [future for _, future in victims]
        cancelled = client.cancel(futures, timeout=BOUND_S)
        for (ticket, future), really in zip(victims, cancelled, strict=True):
            if really:
                _note_cancel(ticket, future)
            else:
                self._facts.complain(f"could not be cancelled, in a batch: {future!r}")
        self._facts.count("cancels, in batches", len(victims))

    # --- map --------------------------------------------------------------------------------

    def _map(self, client: Client) -> None:
        """Map over many items, all values checked."""
        number = self._rng.choice((10, 100, 1000))
        indices = self._facts.indices(1 + min(number, self._at_once))
        if indices is None:
            return
        (way,) = self._rng.choices([*_WAYS], [*_WAYS.values()])
        own, items = indices[0], indices[1:]
        tickets = [Ticket(index, "item of a map", Expect.VALUE, is_item=True) for index in items]
        value = [tasks.answer(index) for index in items]
        ticket = Ticket(own, f"{way} over {items}", Expect.VALUE, value)
        for each in (*tickets, ticket):
            self._facts.add(each)
        raising = -1
        taken = len(items)
        if way == "map that raises":
            ticket.expects, raising = Expect.OWN_ERROR, self._rng.choice(items)
        elif way == "imap, left early":
            taken = self._rng.randrange(len(items))
            ticket.value = value[:taken]
        duration_s = self._rng.choice((0.0, 0.0005, 0.005))
        function = partial(_item_of, self._directory, duration_s, own, raising)
        try:
            if way.startswith("imap"):
                with closing(client.imap(function, items)) as values:
                    ticket.result = list(islice(values, taken))
            else:
                ticket.result = client.map(function, items)
        except Exception as error:
            ticket.error = error
            for each in tickets:  # the rest was cancelled, and all of it confirmed
                each.cancelled_ns, each.outcome = time.monotonic_ns(), "CLOSED"
        ticket.resolutions, ticket.resolved_ns = 1, time.monotonic_ns()
        ticket.answered = True
        if ticket.result == ticket.value:
            ticket.result = ticket.value = None  # right, and large
        self._facts.count("items mapped", len(items))


def _item_of(directory: str, duration_s: float, own: int, raising: int, index: int) -> int:
    value = tasks.item(directory, index, duration_s)
    if index == raising:
        raise tasks.OwnError(own)
    return value


def _ticket(index: int, call: Call) -> Ticket:
    return Ticket(
        index,
        call.kind,
        call.expects,
        value=None if call.value is None else call.value(index),
        max_attempts=max_attempts(call),
        own_failures=call.own_failures,
        own_crashes=call.own_crashes,
        limit_s=min(
            (call.policy[key] for key in ("timeout", "deadline") if key in call.policy),
            default=None,
        ),
        lines=call.lines,
    )


def _note_resolution(ticket: Ticket, future: ScalerFuture) -> None:
    ticket.resolutions += 1
    ticket.resolved_ns = time.monotonic_ns()


def _note_cancel(ticket: Ticket, future: ScalerFuture) -> None:
    ticket.cancelled_ns = time.monotonic_ns()
    outcome = future.cancel_outcome
    ticket.outcome = outcome.name if outcome is not None else "none"
