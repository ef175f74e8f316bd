"""Which code may be blocked: plain code and cells; which not: coroutines and callbacks."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from scaler.client.loops import in_loop_callback, in_user_coroutine, loop_is_running


def look() -> tuple[bool, bool, bool]:
    return loop_is_running(), in_loop_callback(), in_user_coroutine()


def test_plain_code():
    assert look() == (False, False, False)


def test_a_program_without_asyncio(monkeypatch):
    monkeypatch.delitem(sys.modules, "asyncio")
    assert look() == (False, False, False)
    monkeypatch.setitem(sys.modules, "asyncio", types.ModuleType("asyncio"))
    assert look() == (False, False, False)


def test_a_coroutine():
    async def main() -> Any:
        return look()

    assert asyncio.run(main()) == (True, False, True)


def test_a_callback_of_a_loop():
    seen: list[Any] = []

    async def main() -> None:
        gone = asyncio.Event()
        asyncio.get_running_loop().call_soon(lambda: (seen.append(look()), gone.set()))
        await asyncio.wait_for(gone.wait(), 10)

    asyncio.run(main())
    assert seen == [(True, True, True)]


def test_another_thread_of_a_program_with_a_loop():
    async def main() -> Any:
        return await asyncio.to_thread(look)

    assert asyncio.run(main()) == (False, False, False)


NOTEBOOK = """
async def run_cell(cell):
    return cell()

async def run_async_cell(cell):
    return await cell()
"""


@pytest.fixture
def notebook() -> Any:
    """A module that runs cells as a notebook's does: plain ones inside its own coroutine."""
    module = types.ModuleType("ipykernel.ipkernel")
    exec(compile(NOTEBOOK, "ipkernel.py", "exec"), module.__dict__)
    return module


def test_a_plain_cell_of_a_notebook(notebook):
    def helper() -> Any:
        return look()

    def cell() -> Any:
        return helper()

    assert asyncio.run(notebook.run_cell(cell)) == (True, False, False)


def test_a_cell_that_awaits(notebook):
    async def cell() -> Any:
        return look()

    assert asyncio.run(notebook.run_async_cell(cell)) == (True, False, True)


def test_a_task_that_a_cell_started(notebook):
    tasks: list[Any] = []

    async def work() -> Any:
        return look()

    def cell() -> None:
        tasks.append(asyncio.get_running_loop().create_task(work()))

    async def main(run: Callable[..., Any]) -> Any:
        await run(cell)
        return await tasks[0]

    assert asyncio.run(main(notebook.run_cell)) == (True, False, True)


def test_a_loop_without_frames_of_its_own(monkeypatch):
    # A loop written in C leaves no frame: a running loop and no notebook is enough.
    monkeypatch.setattr(asyncio, "get_running_loop", object)
    assert in_user_coroutine()
