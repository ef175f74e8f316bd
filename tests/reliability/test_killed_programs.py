"""`kill -9` of a program, of its launcher and of its executors, at any moment: nothing is left."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import pytest

from tests.reliability.programs import Program, joined

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

BOUND_S = 5.0
"""For a machine that is busy; an idle one needs a tenth of a second."""

PRELUDE = """
    import os, subprocess, sys, threading, time
    from pathlib import Path
    from scaler import Client

    folder = sys.argv[1]

    def begun():
        Path(folder, os.urandom(4).hex()).touch()

    def hold(number=0):
        begun()
        time.sleep(600)

    def resist():
        begun()
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass

    def family():
        '''Children of all kinds, and grandchildren whose parents have gone.'''
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        subprocess.Popen(sleeper)
        subprocess.Popen(sleeper, start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
        os.wait()
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        hold()

    def until(count):
        while len(os.listdir(folder)) < count:
            time.sleep(0.001)

    def say(text):
        print(text, flush=True)
"""

STATES = {
    "idle": """
        client = Client(workers=2)
        client.submit(pow, 2, 3).result()
        say("ready")
        threading.Event().wait()
    """,
    "full of work": """
        client = Client(workers=2)
        futures = [client.submit(hold, number) for number in range(2_000)]
        until(2)
        say("ready")
        futures[0].result()
    """,
    "with families": """
        client = Client(workers=2)
        futures = [client.submit(family) for _ in range(2)]
        until(2)
        say("ready")
        futures[0].result()
    """,
    "cancelling": """
        client = Client(workers=2)
        futures = [client.submit(resist) for _ in range(2)]
        until(2)
        threading.Thread(target=futures[0].cancel, kwargs={"grace": 600}).start()
        futures[1].cancel(grace=600, timeout=0)
        client.submit(pow, 2, 3)
        say("ready")
        futures[0].result()
    """,
    "replacing executors": """
        client = Client(workers=2)
        say("ready")
        while True:
            client.submit(os._exit, 3).exception()
    """,
    "closing": """
        client = Client(workers=2)
        futures = [client.submit(resist) for _ in range(50)]
        until(2)
        say("ready")
        client.close()
        os.kill(os.getpid(), 9)
    """,
}


LEAVING = """
    import os, socket, tempfile, threading
    from scaler import Client

    def leave():
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.join(tempfile.gettempdir(), "socket of a task"))

    client = Client(workers=1)
    client.submit(leave).result()
    tempfile.mkstemp("file of a program")
    print("ready", flush=True)
    threading.Event().wait()
"""

STARTING = "from scaler import Client; Client(workers=4); import time; time.sleep(9)"


@pytest.mark.parametrize("state", STATES)
def test_a_program_that_is_killed_leaves_nothing(state, tmp_path):
    with Program(joined(PRELUDE, STATES[state]), str(tmp_path)) as program:
        program.says("ready")
        assert len(program.pids()) >= 3
        time.sleep(random.uniform(0.0, 0.03))  # any moment will do
        took_s = program.kill()
        print(f"killed {state}: all gone after {took_s * 1e3:.0f} ms")
        assert took_s < BOUND_S
        assert list(program.directory.iterdir()) == [], "it is the program's TMPDIR"


def test_a_program_that_is_killed_while_it_starts_leaves_nothing():
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for _ in range(8):
        with Program(STARTING) as program:
            time.sleep(moments.uniform(0.02, 0.25))
            took_s = program.kill()
            assert took_s < BOUND_S
            assert list(program.directory.iterdir()) == []


def test_what_a_program_and_its_tasks_leave_as_files_is_seen():
    with Program(LEAVING) as program:
        program.says("ready")
        os.kill(program.pid, signal.SIGKILL)
        with pytest.raises(AssertionError):
            program.wait_gone(1.0)
        left = " ".join(program.left())
        assert "file of a program" in left
        assert "socket of a task" in left
