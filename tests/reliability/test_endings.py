"""How programs end that have work under way: with their own exit code, soon, without a trace."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.reliability.programs import Program, joined

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

BOUND_S = 10.0
"""For a machine that is busy; on an idle one a program takes half a second in all."""

PRELUDE = """
    import atexit, gc, os, signal, subprocess, sys, threading, time
    from concurrent.futures import CancelledError
    from scaler import Client, ClientClosedError, LocalCluster

    def resist():
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        while True:
            try:
                time.sleep(600)
            except BaseException:
                pass

    def busy(client):
        futures = [client.submit(resist), *(client.submit(time.sleep, 600) for _ in range(50))]
        while not futures[0].running():
            time.sleep(0.001)
        return futures

    def say(*words):
        print(*words, flush=True)

    def slow_to_close(client):
        path = os.path.join(os.environ["TMPDIR"], "sign")
        def resist_from_now_on():
            begun = False
            while True:
                try:
                    if not begun:
                        begun = True
                        open(path, "x").close()
                    time.sleep(600)
                except BaseException:
                    pass
        future = client.submit(resist_from_now_on)
        while not os.path.exists(path):
            time.sleep(0.001)
        os.remove(path)
        return future

    def ctrl_c_while_all_is_closed(times):
        # Called after the clusters were made: they are closed right after what is registered here.
        left = [0.01] * (times - 1)
        def ctrl_c(*_):
            say("Ctrl-C")
            signal.setitimer(signal.ITIMER_REAL, left.pop() if left else 0)
            os.killpg(0, signal.SIGINT)
        signal.signal(signal.SIGALRM, ctrl_c)
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0.01)
"""

# Name: program, exit code, what it prints, what the last line on stderr begins with.
ENDS = {
    "an exception in the with-body": (
        """
        with Client(workers=2) as client:
            busy(client)
            raise ValueError("mine")
        """,
        (1, "", "ValueError: mine"),
    ),
    "sys.exit in the with-body": (
        """
        with Client(workers=2) as client:
            busy(client)
            sys.exit(3)
        """,
        (3, "", ""),
    ),
    "os._exit in the with-body": (
        """
        with Client(workers=2) as client:
            busy(client)
            os._exit(4)
        """,
        (4, "", ""),
    ),
    "the end of the script": ("client = Client(workers=2); futures = busy(client)", (0, "", "")),
    "an end with the cluster still starting": ("cluster = LocalCluster(workers=16)", (0, "", "")),
    "an end while a thread starts a cluster": (
        """
        threading.Thread(target=Client, daemon=True).start()
        time.sleep(0.05)
        """,
        (0, "", ""),
    ),
    "sys.exit of a signal handler": (
        """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        client = Client(workers=2)
        future = busy(client)[0]
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        future.result()
        """,
        (5, "", ""),
    ),
    "sys.exit of a signal handler while a cluster starts": (
        """
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(6))
        signal.setitimer(signal.ITIMER_REAL, 0.03)
        client = Client(workers=2)
        busy(client)[0].result()
        """,
        (6, "", ""),
    ),
    "a close of a signal handler": (
        """
        client = Client(workers=2)
        signal.signal(signal.SIGALRM, lambda *_: client.close())
        future = busy(client)[1]
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        say(future.exception().__class__.__name__) if not future.cancelled() else None
        """,
        (1, "", "concurrent.futures._base.CancelledError"),
    ),
    "callbacks that raise": (
        """
        import logging
        logging.disable()  # each is logged
        client = Client(workers=2)
        for future in busy(client):
            future.add_done_callback(lambda _: 1 / 0)
        """,
        (0, "", ""),
    ),
    "a callback that exits": (
        """
        import logging
        logging.disable()
        client = Client(workers=2)
        client.submit(pow, 2, 3).add_done_callback(lambda _: sys.exit(3))
        say(client.submit(pow, 2, 4).result())
        futures = busy(client)
        """,
        (0, "16\n", ""),
    ),
    "a callback that os._exits": (
        """
        client = Client(workers=2)
        futures = busy(client)
        futures[1].add_done_callback(lambda _: os._exit(7))
        futures[1].cancel()
        futures[0].result()
        """,
        (7, "", ""),
    ),
    "a callback that submits": (
        """
        client = Client(workers=2)
        def again(future):
            try:
                client.submit(pow, 2, 3)
            except ClientClosedError:
                say("closed")
        busy(client)[-1].add_done_callback(again)
        """,
        (0, "closed\n", ""),
    ),
    "a close in __del__ of a cycle": (
        """
        class Owner:
            def __init__(self):
                self.client = Client(workers=2)
                self.futures = busy(self.client)
                self.me = self
            def __del__(self):
                self.client.close()
        owner = Owner()
        del owner
        """,
        (0, "", ""),
    ),
    "a close in __del__ of a collector's run": (
        """
        class Owner:
            def __init__(self):
                self.client = Client(workers=2)
                self.futures = busy(self.client)
                self.me = self
            def __del__(self):
                self.client.close()
                say("closed")
        Owner()
        gc.collect()
        """,
        (0, "closed\n", ""),
    ),
    "use in an atexit function that comes after ours": (
        """
        def late():
            for use in (lambda: client.submit(pow, 2, 3), lambda: Client(client.cluster)):
                try:
                    use()
                except ClientClosedError:
                    say("closed")
        atexit.register(late)
        client = Client(workers=2)
        futures = busy(client)
        """,
        (0, "closed\nclosed\n", ""),
    ),
    "a new client in an atexit function": (
        """
        client = Client(workers=2)
        futures = busy(client)
        atexit.register(lambda: say(Client(workers=1).submit(pow, 2, 3).result()))
        """,
        (0, "8\n", ""),
    ),
    "Ctrl-C while clusters are closed at exit": (
        """
        clients = [Client(workers=1) for _ in range(2)]
        futures = [slow_to_close(client) for client in clients]
        ctrl_c_while_all_is_closed(1)
        """,
        (0, "Ctrl-C\n", ""),
    ),
    "Ctrl-C again and again while clusters are closed at exit": (
        """
        clients = [Client(workers=1) for _ in range(2)]
        futures = [slow_to_close(client) for client in clients]
        ctrl_c_while_all_is_closed(5)
        """,
        (0, 5 * "Ctrl-C\n", ""),
    ),
    "Ctrl-C, and again while clusters are closed at exit": (
        """
        client = Client(workers=1)
        future = slow_to_close(client)
        ctrl_c_while_all_is_closed(2)
        signal.raise_signal(signal.SIGINT)
        """,
        (-signal.SIGINT, 2 * "Ctrl-C\n", "KeyboardInterrupt"),
    ),
    "a handler of Ctrl-C that raises while clusters are closed at exit": (
        """
        clients = [Client(workers=1) for _ in range(2)]
        futures = [slow_to_close(client) for client in clients]
        signal.signal(signal.SIGINT, lambda *_: sys.exit(9))
        ctrl_c_while_all_is_closed(3)
        """,
        (0, 3 * "Ctrl-C\n", ""),
    ),
    "an imap that is being read": (
        """
        import itertools
        client = Client(workers=2)
        values = client.imap(abs, itertools.count())
        next(values)
        """,
        (0, "", ""),
    ),
    "a map in another thread": (
        """
        client = Client(workers=2)
        futures = busy(client)
        def map_on():
            try:
                client.map(time.sleep, [600] * 9)
            except (ClientClosedError, CancelledError):
                pass
        threading.Thread(target=map_on, daemon=True).start()
        """,
        (0, "", ""),
    ),
    "a coroutine that raises": (
        """
        import asyncio
        async def main():
            client = Client(workers=2)
            future = busy(client)[1]
            waiting = asyncio.ensure_future(future.acancel())
            raise ValueError("mine")
        asyncio.run(main())
        """,
        (1, "", "ValueError: mine"),
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_program_ends_as_it_wants_and_leaves_nothing_after(end):
    code, expected = ENDS[end]
    with Program(joined(PRELUDE, code)) as program:
        exit_code, out, error = program.ends(BOUND_S)
        lines = error.splitlines()
        assert (exit_code, out, lines[-1] if lines else "") == expected, error
        assert error.count("Traceback") <= 1, error
        program.wait_gone(BOUND_S)
