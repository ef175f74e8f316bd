"""Ctrl-C at any moment in the life of a program that uses a cluster.

In two ways. By points: the interpreter looks for signals when a function is entered and when one in
C has returned; the program counts these points, and at one of them sends SIGINT to its process
group, as a terminal does. And by time: SIGINT comes from outside, whatever the program does then.

`python -m tests.reliability.ctrl_c 200 [SEED]` does each so many times, and prints those that went
wrong. Left out are points within the import machinery: a `KeyboardInterrupt` between its lock and
the `try` behind it leaves the lock held (a matter of CPython, and of less than a microsecond).
"""

from __future__ import annotations

import random
import subprocess
import sys
import time

import msgspec

from tests.reliability.programs import Program

END_BOUND_S = 5.0
LASTS_S = 0.4
"""How long the program takes, about."""

SHARE = 0.99
"""Of the points of one run: another may have fewer, as its threads meet otherwise."""
_HANG_S = 30.0

PROGRAM = """
    import atexit, os, signal, sys

    point = int(sys.argv[1])
    seen = 0

    def count(frame, event, argument):
        global seen
        if event not in ("call", "c_return"):
            return
        seen += 1
        if seen >= point > 0 and "importlib" not in frame.f_code.co_filename:
            sys.setprofile(None)
            print(f"{frame.f_code.co_filename}:{frame.f_lineno}", flush=True)
            os.killpg(0, signal.SIGINT)

    atexit.register(lambda: print("points", seen))  # called last
    if point >= 0:
        sys.setprofile(count)
    print("begun", flush=True)
    import time
    from scaler import Client

    def resist():
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass

    with Client(workers=2) as client:
        futures = [client.submit(pow, 2, number) for number in range(20)]
        futures[0].add_done_callback(lambda _: None)
        assert sum(future.result() for future in futures) == 2**20 - 1
        client.map(abs, range(50))
        stopped = client.submit(time.sleep, 60)
        while not stopped.running():
            time.sleep(0.0001)
        assert stopped.cancel()
        left = [client.submit(resist)] + [client.submit(time.sleep, 60) for _ in range(5)]
    later = Client(workers=1)
    open_future = later.submit(time.sleep, 60)
"""


class Outcome(msgspec.Struct, frozen=True):
    """How one program took it."""

    moment: str
    code: int
    ended_s: float
    gone_s: float
    """After its end: until no process, segment or file of it was left."""
    out: str
    error: str

    def wrong(self) -> str:
        """Say what is wrong; empty if nothing is."""
        interrupts = [line for line in self.error.splitlines() if line == "KeyboardInterrupt"]
        # In a finalizer or at exit the interpreter itself prints the exception and goes on.
        ignored = self.error.count("Exception ignored in")
        if ignored:
            interrupts += [x for x in self.error.splitlines() if x.startswith("KeyboardInterrupt:")]
        was_early = "points" not in self.out
        if len(interrupts) != 1 and (was_early or self.error):
            return f"{len(interrupts)} times KeyboardInterrupt"
        if self.code != -2 and not (self.code == 0 and (ignored or not was_early)):
            return f"exit code {self.code}"
        if self.ended_s > END_BOUND_S:
            return f"it took {self.ended_s:.1f} s to end"
        if self.gone_s > END_BOUND_S:
            return f"it took {self.gone_s:.1f} s until nothing was left"
        return ""


def points() -> int:
    """Return how many points there are in a run that is not interrupted."""
    with Program(PROGRAM, "0") as program:
        code, out, error = program.ends()
        assert (code, error) == (0, ""), error
        return int(out.split()[-1])


def interrupt_at(point: int) -> Outcome:
    """Run the program, interrupted at `point`."""
    with Program(PROGRAM, str(point)) as program:
        return _outcome(program, f"point {point}")


def interrupt_after(delay_s: float) -> Outcome:
    """Run the program, interrupted after that time, if it takes so long."""
    with Program(PROGRAM, "-1") as program:
        program.says("begun")
        time.sleep(delay_s)
        program.ctrl_c()
        return _outcome(program, f"after {delay_s:.4f} s")


def _outcome(program: Program, moment: str) -> Outcome:
    start_s = time.monotonic()
    try:
        code, out, error = program.ends(_HANG_S)
    except subprocess.TimeoutExpired:
        return Outcome(moment, 0, _HANG_S, 0.0, "", f"hangs; left: {program.left()}")
    ended_s = time.monotonic()
    program.wait_gone()
    return Outcome(moment, code, ended_s - start_s, time.monotonic() - ended_s, out, error)


def main(count: int, seed: int) -> int:
    """Interrupt that many programs each way; return how many took it wrongly."""
    draws = random.Random(seed)
    total = int(points() * SHARE)
    print(
        f"{count} programs at one of {total} points, {count} at any time; seed {seed}", flush=True
    )
    outcomes = [interrupt_at(draws.randint(1, total)) for _ in range(count)]
    outcomes += [interrupt_after(draws.uniform(0.0, LASTS_S)) for _ in range(count)]
    failed = [outcome for outcome in outcomes if outcome.wrong()]
    for outcome in failed:
        print(f"\n{outcome.moment}: {outcome.wrong()}, exit code {outcome.code}")
        print(f"{outcome.out}{outcome.error}")
    ended_s = max(outcome.ended_s for outcome in outcomes)
    gone_s = max(outcome.gone_s for outcome in outcomes)
    print(f"{len(failed)} wrong; the longest ran {ended_s:.2f} s, all gone {gone_s:.3f} s later")
    return len(failed)


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(arguments[0], arguments[1] if len(arguments) > 1 else random.getrandbits(32)) > 0)
