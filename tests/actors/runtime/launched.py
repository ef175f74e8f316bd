"""What the children of the launcher's tests run."""

from __future__ import annotations

import builtins
import json
import os
import random
import signal
import sys
import time
import zlib
from collections.abc import Sequence
from typing import NoReturn


def echo(payload: bytes, fds: Sequence[int]) -> None:
    os.write(fds[0], payload)


def measure(payload: bytes, fds: Sequence[int]) -> None:
    os.write(fds[0], f"{len(payload)} {zlib.crc32(payload)}".encode())


def facts(payload: bytes, fds: Sequence[int]) -> None:
    main = sys.modules["__main__"]
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    found = {
        "argv": sys.argv,
        "stdin": os.readlink("/proc/self/fd/0"),
        "leads": [os.getsid(0), os.getpgid(0)] == [os.getpid()] * 2,
        "open": sorted(fd for fd in numbers if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}")),
        "fds": list(fds),
        "env": os.environ.get("NEST"),
        "mark": os.environ.get("ACTORS_LAUNCHER"),
        "cwd": os.getcwd(),
        "path": sys.path,
        "prefix": [sys.prefix, sys.exec_prefix],
        "main": sorted(name for name in vars(main) if not name.startswith("__")),
        "exit": all(hasattr(builtins, name) for name in ("exit", "quit", "help")),
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "sigint": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "sigchld": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
        "preloaded": "colorsys" in sys.modules,
        "random": random.random(),
    }
    os.write(fds[0], json.dumps(found).encode())


def end(payload: bytes, fds: Sequence[int]) -> None:
    """End in the way that the payload says."""
    how = payload.decode()
    if how.startswith("os._exit"):
        os._exit(int(how.split()[1]))
    if how.startswith("signal"):
        os.kill(os.getpid(), int(how.split()[1]))
        signal.pause()
    if how == "raise":
        raise RuntimeError("it went wrong")
    if how == "print":
        print("flushed at the end")
        return
    sys.exit(eval(how))


def sleep(payload: bytes, fds: Sequence[int]) -> NoReturn:
    """Say the pid, then sleep; SIGTERM does nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(fds[0], b"%d\n" % os.getpid())
    while True:
        time.sleep(60)


def die_on_sigterm(payload: bytes, fds: Sequence[int]) -> None:
    os.write(fds[0], b"%d\n" % os.getpid())
    signal.pause()


def family(payload: bytes, fds: Sequence[int]) -> None:
    """Fork: in the own group, in a session of its own, as a daemon; all say their pid and sleep.

    The payload says how this process goes on: "sleep", or "leave" with exit code 3.
    """
    if os.fork() == 0:
        sleep(b"", fds)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            sleep(b"", fds)
        sleep(b"", fds)
    middle = os.fork()
    if middle == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            sleep(b"", fds)
        os._exit(0)
    os.waitpid(middle, 0)
    if payload == b"sleep":
        sleep(b"", fds)
    gate = fds[1]
    os.read(gate, 1)
    os._exit(3)
