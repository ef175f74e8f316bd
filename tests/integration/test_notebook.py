"""What someone in a notebook meets, with a real kernel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.integration.conftest import ROOT, Notebook, until

pytestmark = pytest.mark.timeout(120)

CLUSTER = 3
"""Processes of a cluster of two workers: the launcher and two executors."""

SLOW = "future = client.submit(time.sleep, 600)\nwhile not future.running(): time.sleep(0.001)\n"


@pytest.fixture(scope="module")
def kernel(new_notebook: Callable[[], Notebook]) -> Notebook:
    return new_notebook()


@pytest.fixture
def notebook(kernel: Notebook) -> Iterator[Notebook]:
    """A notebook whose first cell has made a client; after the test there is none."""
    kernel.run("import time\nfrom scaler import *\nclient = Client(workers=2)")
    yield kernel
    kernel.run("%reset -f")
    until(lambda: kernel.processes() == 0)


# --- cancel ---------------------------------------------------------------------------------


def test_a_cancel_in_a_plain_cell_is_confirmed(notebook: Notebook) -> None:
    cell = notebook.run(SLOW + "print(future.cancel(), future.cancel_outcome.name)")
    assert cell.text() == "True CANCELED\n"


def test_a_cancel_of_queued_tasks_in_a_plain_cell_is_confirmed(notebook: Notebook) -> None:
    cell = notebook.run(
        "futures = [client.submit(time.sleep, 600) for _ in range(20)]\n"
        "print(all(client.cancel(futures)), {f.cancel_outcome.name for f in futures})"
    )
    assert cell.text() == "True {'CANCELED'}\n"


def test_a_cancel_in_a_cell_with_a_top_level_await_is_confirmed(notebook: Notebook) -> None:
    cell = notebook.run(
        "import asyncio\nawait asyncio.sleep(0)\n"
        + SLOW
        + "print(future.cancel(), future.cancel_outcome.name)\n"
        "try: await future\nexcept asyncio.CancelledError: print('cancelled')"
    )
    assert cell.text() == "True CANCELED\ncancelled\n"


def test_an_awaited_cancel_is_confirmed(notebook: Notebook) -> None:
    cell = notebook.run(SLOW + "print(await future.acancel(), future.cancel_outcome.name)")
    assert cell.text() == "True CANCELED\n"


def test_a_future_can_be_awaited_in_a_cell(notebook: Notebook) -> None:
    assert notebook.run("await client.submit(pow, 2, 10)").result() == "1024"


def test_a_cancel_from_a_callback_of_the_kernels_loop_does_not_block_it(
    notebook: Notebook,
) -> None:
    cell = notebook.run(
        SLOW
        + "import asyncio\n"
        + "def cancels():\n"
        + "    begun = time.monotonic()\n"
        + "    future.cancel()\n"
        + "    return future.cancel_outcome.name, time.monotonic() - begun < 0.5\n"
        + "done = asyncio.get_running_loop().create_future()\n"
        + "asyncio.get_running_loop().call_soon(lambda: done.set_result(cancels()))\n"
        + "print(await done, future.cancelled())\n"
        + "while future.cancel_outcome.name == 'UNCONFIRMED': await asyncio.sleep(0.005)\n"
        + "print(future.cancel_outcome.name)"
    )
    assert cell.text() == "('UNCONFIRMED', True) True\nCANCELED\n"


# --- the interrupt button -------------------------------------------------------------------


def test_an_interrupt_during_a_map_cancels_it_and_the_client_stays_usable(
    notebook: Notebook,
) -> None:
    cell = notebook.begin(
        "def slow(n):\n    print('begun')\n    time.sleep(600)\nclient.map(slow, range(100))"
    )
    notebook.until(lambda: "begun" in notebook.cells[cell].text())
    notebook.manager.interrupt_kernel()
    assert notebook.finish(cell).error == "KeyboardInterrupt"
    after = notebook.run("print(client._session.credit.in_flight(), client.map(abs, [-1, -2]))")
    assert after.text() == "(0, 0) [1, 2]\n"


def test_an_interrupt_while_waiting_loses_no_future(notebook: Notebook) -> None:
    cell = notebook.begin(
        "def slow():\n    print('begun')\n    time.sleep(600)\n"
        "future = client.submit(slow)\nfuture.result()"
    )
    notebook.until(lambda: "begun" in notebook.cells[cell].text())
    notebook.manager.interrupt_kernel()
    assert notebook.finish(cell).error == "KeyboardInterrupt"
    after = notebook.run("print(future.cancel(), future.cancel_outcome.name)")
    assert after.text() == "True CANCELED\n"


# --- cells are run again and again ----------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "times"),
    [
        ("client = Client(workers=2)", 20),
        ("Client(workers=2)", 20),
        ("client = Client(workers=2)\nclient", 10),
        ("client = Client(workers=2)\nfuture = client.submit(time.sleep, 600)", 10),
        ("cluster = LocalCluster(2)\nclient = Client(cluster)\nclient.map(abs, [-1])", 10),
    ],
)
def test_running_the_cell_that_makes_the_client_again_leaves_the_process_count_flat(
    notebook: Notebook, cell: str, times: int
) -> None:
    notebook.run("client.close()")
    notebook.run(cell)
    until(lambda: notebook.processes() == CLUSTER)
    threads, descriptors = notebook.process.num_threads(), notebook.process.num_fds()
    for _ in range(times - 1):
        notebook.run(cell)
    until(lambda: notebook.processes() == CLUSTER)
    until(lambda: notebook.process.num_threads() < threads + times - 2)
    until(lambda: notebook.process.num_fds() < descriptors + times - 2)
    newest = "_" if cell == "Client(workers=2)" else "client"
    assert notebook.run(f"print({newest}.submit(pow, 2, 3).result())").text() == "8\n"


def test_a_client_that_is_only_displayed_works_until_there_is_another(notebook: Notebook) -> None:
    notebook.run("client.close()")
    notebook.run("Client(workers=1)")
    notebook.run("time.sleep(0.5)")
    assert notebook.run("print(_.submit(pow, 2, 3).result())").text() == "8\n"
    notebook.run("view = _.options(name='held by a view')\nClient(workers=1)")
    notebook.run("time.sleep(0.5)")
    assert notebook.run("print(view.submit(pow, 2, 3).result())").text() == "8\n"


def test_a_helper_that_was_redefined_is_used_at_the_next_submit(notebook: Notebook) -> None:
    notebook.run("def helper(): return 1\ndef task(): return helper()")
    assert notebook.run("client.submit(task).result()").result() == "1"
    notebook.run("def helper(): return 2")
    assert notebook.run("client.submit(task).result()").result() == "2"
    notebook.run("SCALE = 10\ndef scaled(n): return SCALE * n")
    assert notebook.run("client.map(scaled, [1, 2])").result() == "[10, 20]"
    notebook.run("SCALE = 100")
    assert notebook.run("client.map(scaled, [1, 2])").result() == "[100, 200]"
    notebook.run("class Point:\n    def __init__(self, x): self.x = x")
    assert notebook.run("client.submit(lambda p: p.x, Point(3)).result()").result() == "3"


# --- what is shown --------------------------------------------------------------------------


def test_what_a_task_prints_is_in_its_cell_before_its_result(notebook: Notebook) -> None:
    cell = notebook.run(
        "import sys\n"
        "def talks(n):\n"
        "    for word in ('a', 'b'): print(word, end=' ')\n"
        "    print(n)\n"
        "    print('warned', file=sys.stderr)\n"
        "    return n\n"
        "print('result', client.submit(talks, 7).result())"
    )
    assert cell.text() == "a b 7\nresult 7\n"
    assert cell.text("stderr") == "warned\n"


def test_what_a_task_prints_later_is_in_the_cell_that_submitted_it(notebook: Notebook) -> None:
    first = notebook.run(
        "import os, tempfile\n"
        "path = os.path.join(tempfile.mkdtemp(), 'go')\n"
        "def waits():\n"
        "    while not os.path.exists(path): time.sleep(0.001)\n"
        "    print('late')\n"
        "future = client.submit(waits)"
    )
    second = notebook.run("open(path, 'w').close()\nfuture.result()\nprint('second')")
    notebook.until(first.text)
    assert (first.text(), second.text()) == ("late\n", "second\n")


def test_lines_of_many_tasks_stay_whole(notebook: Notebook) -> None:
    cell = notebook.run(
        "def talks(n):\n"
        "    for part in range(20): print(n, end='')\n"
        "    print()\n"
        "_ = client.map(talks, 'abcdefgh')"
    )
    assert sorted(cell.text().split()) == [letter * 20 for letter in "abcdefgh"]


@pytest.mark.parametrize(
    "call", ["submit(divide, 1, 0).result()", "map(divide, [1], [0])", "submit(divide, 1, 0)"]
)
def test_the_traceback_in_the_cell_shows_the_line_of_the_task_and_few_others(
    notebook: Notebook, call: str
) -> None:
    cell = notebook.run(
        "def divide(a, b):\n    return a / b  # by nothing\n"
        + ("await " if call.endswith("0)") else "")
        + f"client.{call}",
        fails=True,
    )
    assert cell.error == "ZeroDivisionError"
    assert re.search(r"in divide\(.*\n.*\n-+> 2     return a / b  # by nothing", cell.traceback)
    assert "on worker worker-" in cell.traceback
    assert "scaler/" not in cell.traceback


def test_clients_clusters_and_futures_are_displayed_in_a_line_and_a_small_table(
    notebook: Notebook,
) -> None:
    client = notebook.run("client")
    assert re.fullmatch(r"<Client \d+, connected, 0 tasks .* 2 workers>", client.result())
    assert "<td>connected</td>" in client.result("text/html")
    cluster = notebook.run("client.cluster")
    assert cluster.result() == "<LocalCluster 2 workers, 1 clients, running>"
    assert "<td>running</td>" in cluster.result("text/html")
    future = notebook.run(SLOW + "future")
    assert re.fullmatch(r"<ScalerFuture task=\d+ \S+ running>", future.result())
    assert len(client.result("text/html")) < 500


# --- backpressure ---------------------------------------------------------------------------


def test_at_the_credit_limit_a_plain_cell_waits_and_a_coroutine_is_told(
    notebook: Notebook,
) -> None:
    notebook.run("import asyncio\nsmall = Client(client.cluster, credit_tasks=2)")
    plain = "futures = [small.submit(time.sleep, 0.05) for _ in range(6)]\nprint(len(futures))"
    assert notebook.run(plain).text() == "6\n"
    notebook.run("for f in futures: f.result()")
    top_level = "await asyncio.gather(*[small.submit(time.sleep, 9) for _ in range(3)])"
    assert notebook.run(top_level, fails=True).error == "ClientBusyError"
    coroutine = "async def fill(): return [small.submit(time.sleep, 9) for _ in range(3)]\n"
    assert notebook.run(coroutine + "await fill()", fails=True).error == "ClientBusyError"
    notebook.run("small.close()\nsmall = Client(client.cluster, credit_tasks=2)")
    waits = "for _ in range(6): future = await small.asubmit(pow, 2, 3)\nprint(await future)"
    assert notebook.run(waits).text() == "8\n"


# --- the kernel ends ------------------------------------------------------------------------


def test_restarting_shutting_down_and_killing_the_kernel_leaves_no_process(
    new_notebook: Callable[[], Notebook],
) -> None:
    notebook = new_notebook()
    busy = "import time\nfrom scaler import Client\nclient = Client(workers=2)\n" + SLOW
    for end in (notebook.manager.restart_kernel, notebook.shuts_down):
        notebook.run(busy)
        started = notebook.process.children(recursive=True)
        assert len(started) == CLUSTER
        end()
        until(lambda: not any(process.is_running() for process in started))
        if notebook.manager.has_kernel:
            notebook.client.wait_for_ready(timeout=30)
    notebook.close()


def test_killing_the_kernel_leaves_no_process(new_notebook: Callable[[], Notebook]) -> None:
    notebook = new_notebook()
    notebook.run("import time\nfrom scaler import Client\nclient = Client(workers=2)\n" + SLOW)
    started: list[psutil.Process] = notebook.process.children(recursive=True)
    assert len(started) == CLUSTER
    notebook.shuts_down(now=True)
    until(lambda: not any(process.is_running() for process in started))
    notebook.close()


# --- the page -------------------------------------------------------------------------------

CELL = re.compile(r"^```python cell\n(.*?)^```", re.DOTALL | re.MULTILINE)
PRINTED = re.compile(r"(?:\bprint\(.*\) +# |^# prints: )(.*)$", re.MULTILINE)
SHOWN = re.compile(r"# shows: (.*)$", re.MULTILINE)


def test_the_cells_of_the_page_print_what_the_page_says(
    new_notebook: Callable[[], Notebook],
) -> None:
    notebook = new_notebook()
    cells = CELL.findall((ROOT / "docs" / "notebooks.md").read_text())
    assert cells
    for code in cells:
        cell = notebook.run(code)
        assert cell.text().splitlines() == PRINTED.findall(code)
        assert cell.result().splitlines() == SHOWN.findall(code)
    assert notebook.processes() == 0
    notebook.close()
