"""A program that owns a launcher, for tests that kill such programs.

Prints the pids of the launcher, of a child and of all that it forked; then waits. With "fork" it
has also forked a process of its own, which has copies of all its file descriptors.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from actors import Launcher, Poller


def main(how: str) -> None:
    poller = Poller()
    launcher = Launcher()
    launcher.attach(poller)
    reader, writer = os.pipe()
    launcher.launch("launched:family", b"sleep", [writer], on_exit=print)
    os.close(writer)
    said = bytearray()
    poller.add_reader(reader, lambda: said.extend(os.read(reader, 1000)))
    while said.count(b"\n") < 5:
        poller.poll(10)
    copy = 0
    if how == "fork":
        copy = os.fork()
        if copy == 0:
            time.sleep(60)
    sys.stdout.write(f"{copy} {launcher.pid} {said.decode().replace(chr(10), ' ')}\n")
    sys.stdout.flush()
    while True:
        poller.poll(60)


main(sys.argv[1])
