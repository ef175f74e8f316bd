"""xoscar: actors in processes, each with an asyncio loop."""

from __future__ import annotations

import measure

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import xoscar

PIPELINED = 500
"""Calls that are open at once."""


class Echo(xoscar.Actor):
    """Answers at once."""

    async def ping(self) -> int:
        return 1


class Caller(xoscar.Actor):
    """Asks another actor of its process many times."""

    def __init__(self, echo: Any) -> None:
        super().__init__()
        self.echo = echo

    async def ask(self, times: int) -> None:
        for _ in range(times):
            await self.echo.ping()


async def ask_actor(pool: Any) -> float:
    echo = await xoscar.create_actor(Echo, address=pool.external_address)
    caller = await xoscar.create_actor(Caller, echo, address=pool.external_address)
    await caller.ask(200)
    started = time.perf_counter()
    await caller.ask(measure.ASKS)
    return measure.ASKS / (time.perf_counter() - started)


async def in_process(pool: Any) -> Any:
    strategy = xoscar.allocate_strategy.ProcessIndex(1)
    address = pool.external_address
    return await xoscar.create_actor(Echo, address=address, allocate_strategy=strategy)


async def process_call(pool: Any) -> float:
    echo = await in_process(pool)
    durations = []
    for number in range(measure.WARM_UP_CALLS + measure.CALLS):
        started = time.perf_counter()
        await echo.ping()
        if number >= measure.WARM_UP_CALLS:
            durations.append(time.perf_counter() - started)
    return measure.median(durations) * 1e6


async def process_pipelined(pool: Any) -> float:
    echo = await in_process(pool)
    rates = []
    for _ in range(measure.ROUNDS):
        started = time.perf_counter()
        for _ in range(measure.TASKS // PIPELINED):
            await asyncio.gather(*[echo.ping() for _ in range(PIPELINED)])
        rates.append(measure.TASKS / (time.perf_counter() - started))
    return measure.median(rates)


async def with_pool(case: Callable[[Any], Awaitable[float]]) -> float:
    pool = await xoscar.create_actor_pool("127.0.0.1", n_process=1)
    async with pool:
        return await case(pool)


CASES: dict[str, Callable[[Any], Awaitable[float]]] = {
    "ask-actor": ask_actor,
    "process-call": process_call,
    "process-pipelined": process_pipelined,
}


def run(case: Callable[[Any], Awaitable[float]]) -> float:
    return asyncio.run(with_pool(case))


if __name__ == "__main__":
    measure.main({name: partial(run, case) for name, case in CASES.items()})
