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
