"""A Jupyter kernel as a notebook has one, and programs in processes of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.manager import KernelManager

BOUND_S = 30.0


class Cell:
    """One run of a cell: what was shown under it, also later."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, dict[str, Any]]] = []

    def text(self, stream: str = "stdout") -> str:
        """Return what it printed."""
        parts = [body["text"] for kind, body in self.shown if kind == "stream"]
        names = [body["name"] for kind, body in self.shown if kind == "stream"]
        return "".join(part for part, name in zip(parts, names, strict=True) if name == stream)

    @property
    def error(self) -> str:
        """Return the name of the exception that ended it, or nothing."""
        return "".join(body["ename"] for kind, body in self.shown if kind == "error")

    @property
    def traceback(self) -> str:
        """Return the traceback shown, without colours."""
        lines = [line for kind, body in self.shown if kind == "error" for line in body["traceback"]]
        return "\n".join(lines)

    def result(self, mime: str = "text/plain") -> str:
        """Return what was displayed as its value."""
        values = [body["data"][mime] for kind, body in self.shown if kind == "execute_result"]
        return "".join(values)


class Notebook:
    """A kernel and its cells."""

    def __init__(self, directory: str) -> None:
        self.manager = KernelManager(
            kernel_name="python3",
            transport="ipc",
            ip=f"{directory}/kernel",
            connection_file=f"{directory}/kernel.json",
        )
        environment = os.environ | {
            "IPYTHONDIR": f"{directory}/ipython",
            "JUPYTER_RUNTIME_DIR": directory,
        }
        self.manager.start_kernel(
            env=environment,
            extra_arguments=["--HistoryManager.enabled=False", "--InteractiveShell.colors=nocolor"],
        )
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=BOUND_S)
        self.cells: dict[str, Cell] = {}

    @property
    def process(self) -> psutil.Process:
        """The kernel's process."""
        provisioner: Any = self.manager.provisioner
        return psutil.Process(provisioner.pid)

    def begin(self, code: str) -> str:
        """Start a cell; return its number."""
        number: str = self.client.execute(code)
        self.cells[number] = Cell()
        return number

    def finish(self, number: str) -> Cell:
        """Wait until a cell is done."""
        self.until(lambda: ("status", {"execution_state": "idle"}) in self.cells[number].shown)
        while self.client.get_shell_msg(timeout=BOUND_S)["parent_header"]["msg_id"] != number:
            pass  # late replies to the questions whether the kernel is ready
        return self.cells[number]

    def run(self, code: str, *, fails: bool = False) -> Cell:
        """Run a cell to its end; it must not raise, or it must."""
        cell = self.finish(self.begin(code))
        assert bool(cell.error) == fails, cell.traceback or "no exception"
        return cell

    def until(self, condition: Callable[[], object]) -> None:
        """Take in what the kernel shows until `condition` holds."""
        deadline_s = time.monotonic() + BOUND_S
        while not condition():
            assert time.monotonic() < deadline_s, "not within the bound"
            message = self.client.get_iopub_msg(timeout=BOUND_S)
            cell = self.cells.get(message["parent_header"].get("msg_id"))
            if cell is not None:
                cell.shown.append((message["msg_type"], message["content"]))

    def processes(self) -> int:
        """Count the processes that the kernel has started."""
        return len(self.process.children(recursive=True))

    def shuts_down(self, *, now: bool = False) -> None:
        """End the kernel."""
        self.manager.shutdown_kernel(now=now)

    def close(self) -> None:
        """Take it down."""
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)
        self.client.context.destroy(linger=0)
        self.manager.cleanup_resources()


@pytest.fixture(scope="session")
def new_notebook() -> Iterator[Callable[[], Notebook]]:
    """Start notebooks, each with a kernel of its own."""
    # Not in pytest's directory: the name of a socket must be short.
    directories: list[str] = []
    notebooks: list[Notebook] = []

    def make() -> Notebook:
        directories.append(tempfile.mkdtemp(prefix="notebook-"))
        notebooks.append(Notebook(directories[-1]))
        return notebooks[-1]

    yield make
    for notebook in notebooks:
        notebook.close()
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def until(condition: Callable[[], object], bound_s: float = BOUND_S) -> None:
    """Wait for a condition, with a bound."""
    deadline_s = time.monotonic() + bound_s
    while not condition():
        assert time.monotonic() < deadline_s, "not within the bound"
        time.sleep(0.005)


ROOT = Path(__file__).parents[2]
