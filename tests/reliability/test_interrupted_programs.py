"""Ctrl-C at any moment of a program: it is told once, ends soon, and leaves nothing."""

from __future__ import annotations

import random
import sys
import time

import pytest

from tests.reliability.ctrl_c import LASTS_S, SHARE, interrupt_after, interrupt_at, points
from tests.reliability.programs import Program, joined

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

BOUND_S = 10.0
"""For a machine that is busy; on an idle one a program takes half a second in all."""


def test_ctrl_c_at_any_point_of_a_program_ends_it_once_and_leaves_nothing():
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    draws = random.Random(seed)
    total = int(points() * SHARE)
    for _ in range(6):
        outcome = interrupt_at(draws.randint(1, total))
        assert outcome.wrong() == "", outcome


def test_ctrl_c_at_any_time_ends_a_program_once_and_leaves_nothing():
    for _ in range(6):
        outcome = interrupt_after(random.uniform(0.0, LASTS_S))
        assert outcome.wrong() == "", outcome


RESISTING = """
    import asyncio, signal, sys, time
    from scaler import Client

    def resist(path):
        while True:
            try:
                open(path, "w").close()  # in here: who sees it may interrupt at once
                time.sleep(60)
            except BaseException:
                pass

    client = Client(workers=1)
    future = client.submit(resist, sys.argv[1])
    futures = [client.submit(time.sleep, 60) for _ in range(100)]
    while not __import__("os").path.exists(sys.argv[1]):
        time.sleep(0.001)
    print("ready", flush=True)
"""

WAITS = {
    "a result": "futures[0].result()",
    "a map": "client.map(time.sleep, [60] * 10)",
    "a cancel": "future.cancel(grace=60)",
    "a close": "client.close()",
    "a coroutine": """
    async def main():
        await futures[0]
    asyncio.run(main())
    """,
    "a coroutine's cancel": """
    async def main():
        await future.acancel(grace=60)
    asyncio.run(main())
    """,
}


@pytest.mark.parametrize(
    ("wait", "times"),
    [(wait, 1) for wait in WAITS] + [(wait, 2) for wait in ("a result", "a cancel", "a close")],
)
def test_ctrl_c_ends_a_program_that_waits_for(wait, times, tmp_path):
    with Program(joined(RESISTING, WAITS[wait]), str(tmp_path / "sign")) as program:
        program.says("ready")
        for _ in range(times):
            time.sleep(random.uniform(0.0, 0.05))  # any moment will do
            program.ctrl_c()
        code, out, error = program.ends(BOUND_S)
        assert (code, out) == (-2, ""), error
        told = [line for line in error.splitlines() if line.startswith("KeyboardInterrupt")]
        assert 1 <= len(told) <= times, error
        assert "Error" not in error.replace("CancelledError", "")
        program.wait_gone(BOUND_S)
