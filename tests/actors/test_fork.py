"""A fork of the process that owns a system: it says so, and disturbs nobody."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os
from actors import Actor, ActorSystem, ForkedProcessError, handles

class Echo(Actor):
    @handles(str)
    def on_text(self, text: str) -> None:
        self.context.reply(text)

def refused(call):
    try:
        call()
    except ForkedProcessError as error:
        return "fork" in str(error)

with ActorSystem() as system:
    echo = system.spawn(Echo, name="echo")
    assert echo.ask("before").result() == "before"
    child = os.fork()
    if not child:
        echo.tell("into the void")
        system.close()
        calls = (
            lambda: echo.ask("?"),
            lambda: system.spawn(Echo),
            lambda: system.start_node("child"),
            lambda: system.find("echo"),
            lambda: system.call(int),
        )
        os._exit(0 if all(refused(call) for call in calls) else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(status, echo.ask("after").result())
"""


def test_every_call_in_a_fork_is_refused_and_the_owner_goes_on() -> None:
    command = [sys.executable, "-c", SCRIPT]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.stdout == "0 after\n", run.stderr


WHILE_RINGING = """
import os
import threading
from actors import Actor, ActorSystem

with ActorSystem() as system:
    using = system._loop._wakeup._using
    held, forked = threading.Event(), threading.Event()

    def ring():
        with using:
            held.set()
            forked.wait(20)

    thread = threading.Thread(target=ring)
    thread.start()
    held.wait(20)
    child = os.fork()
    if not child:
        os._exit(7)
    forked.set()
    thread.join()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_while_another_thread_wakes_the_node_goes_on() -> None:
    command = [sys.executable, "-c", WHILE_RINGING]
    run = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert run.stdout == "7\n", run.stderr
