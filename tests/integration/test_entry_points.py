"""The ways in which a program may be started: each ends clean, and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import textwrap
import zipapp
from pathlib import Path
from typing import Any

import pytest

BOUND_S = 30.0
ROOT = Path(__file__).parents[2]

SMALL = """
from scaler import Client
def twice(number):
    return 2 * number
with Client(workers=2) as client:
    print(client.map(twice, range(3)))
"""

EVERYTHING = """
import asyncio, sys, threading, time, warnings
from concurrent.futures import as_completed
from scaler import Client, LocalCluster
def talks(number):
    print("task", number)
    return number
def fails():
    raise ValueError("of the task")
client = Client(workers=2)
assert client.map(talks, [1]) == [1]
powers = [client.submit(pow, 2, n) for n in (1, 2)]
assert sorted(f.result() for f in as_completed(powers)) == [2, 4]
assert isinstance(client.submit(fails).exception(), ValueError)
assert list(client.imap(abs, [-1, -2])) == [1, 2]
future = client.submit(time.sleep, 60)
assert future.cancel() and future.cancel_outcome.name == "CANCELED"
async def main():
    assert await client.submit(pow, 2, 3) == 8
    assert await (await client.asubmit(pow, 2, 3)) == 8
    future = client.submit(time.sleep, 60)
    try:
        await asyncio.wait_for(future, 0.05)
    except TimeoutError:
        pass
asyncio.run(main())
called = threading.Event()
client.submit(abs, -1).add_done_callback(lambda future: called.set())
assert called.wait(20)
left = [client.submit(time.sleep, 60) for _ in range(20)]
"""


def python(
    *arguments: str, program: tuple[str, ...] = (sys.executable,), **options: Any
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(
        [*program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=BOUND_S,
        env=environment,
        **options,
    )


def came_out(done: subprocess.CompletedProcess[str], output: str) -> bool:
    assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)
    return True


@pytest.mark.parametrize(
    "end", ["client.close()", "del client", "", "client.cluster.close()", "del left, client"]
)
def test_development_mode_has_nothing_to_say(end: str) -> None:
    done = python("-X", "dev", "-W", "error", "-c", EVERYTHING + end)
    assert came_out(done, "task 1\n")


def test_a_warning_of_a_task_is_an_error_there_too_if_the_program_wants_it() -> None:
    """Executors run under the options of the program's interpreter."""
    program = """
    import sys, warnings
    from scaler import Client
    def task():
        assert sys.flags.optimize == 1 and sys.flags.utf8_mode == 1 and sys.flags.dev_mode
        try:
            warnings.warn("careful")
        except UserWarning:
            return "raised"
    with Client(workers=1) as client:
        print(client.submit(task).result())
    """
    options = ("-O", "-X", "utf8", "-X", "dev", "-W", "error")
    assert came_out(python(*options, "-c", textwrap.dedent(program)), "raised\n")


# --- where the program is -------------------------------------------------------------------

MAIN = """
from scaler import Client
from package.helper import thrice
def twice(number):
    return 2 * number
with Client(workers=2) as client:
    print(client.map(twice, range(3)), client.map(thrice, range(3)))
    print(client.submit(lambda: thrice(twice(1))).result())
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package that is a program, with a module of its own."""
    package = tmp_path / "code" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "helper.py").write_text("def thrice(number): return 3 * number\n")
    (package / "__main__.py").write_text(MAIN)
    return package


def test_a_package_is_run_with_m(package: Path) -> None:
    done = python("-m", "package", cwd=package.parent)
    assert came_out(done, "[0, 2, 4] [0, 3, 6]\n6\n")


def test_a_program_is_a_zip_file(package: Path, tmp_path: Path) -> None:
    (package.parent / "__main__.py").write_text(MAIN)
    archive = tmp_path / "program.pyz"
    zipapp.create_archive(package.parent, archive)
    assert came_out(python(str(archive)), "[0, 2, 4] [0, 3, 6]\n6\n")


def test_a_script_stands_in_a_directory_that_ascii_cannot_name(tmp_path: Path) -> None:
    directory = tmp_path / "dïr 名"
    directory.mkdir()
    script = directory / "skript ö.py"
    script.write_text(SMALL)
    for environment in ({}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        done = python(script.name, cwd=directory, env=environment)
        assert came_out(done, "[0, 2, 4]\n")


@pytest.mark.parametrize("way", ["script", "-c"])
def test_the_working_directory_has_been_deleted(tmp_path: Path, way: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SMALL)
    gone = tmp_path / "gone"
    gone.mkdir()
    arguments = [str(script)] if way == "script" else ["-c", SMALL]
    enter = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    done = python("-c", enter, "sh", str(gone), sys.executable, *arguments, program=("sh",))
    assert came_out(done, "[0, 2, 4]\n")


def test_executors_are_of_the_programs_own_virtual_environment(tmp_path: Path) -> None:
    """Whatever environment the working directory belongs to."""
    environment = tmp_path / "environment"
    made = python("-m", "venv", "--without-pip", str(environment))
    assert made.returncode == 0, made.stderr
    program = """
    import sys
    from scaler import Client
    def task():
        return sys.prefix, sys.base_prefix, sys.executable
    with Client(workers=1) as client:
        assert client.submit(task).result() == task(), client.submit(task).result()
    print(sys.prefix)
    """
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    done = python(
        "-c",
        textwrap.dedent(program),
        program=(str(environment / "bin" / "python"),),
        cwd=ROOT,
        env={"PYTHONPATH": path},
    )
    assert came_out(done, f"{environment}\n")


# --- what the program is given --------------------------------------------------------------


@pytest.mark.parametrize("closed", ["0", "1", "12", "012"])
def test_standard_streams_are_closed(tmp_path: Path, closed: str) -> None:
    """Then the descriptors 0, 1 and 2 are given to whatever is opened first."""
    answer = tmp_path / "answer"
    script = tmp_path / "script.py"
    script.write_text(
        SMALL.replace("print(", f"open({str(answer)!r}, 'w').write(repr(").replace(")))", "))))")
        + "    client.submit(print, 'nobody reads this').result()\n"
    )
    closing = " ".join(f"{number}>&-" for number in closed)
    done = python("-c", f'exec "$@" {closing}', "sh", sys.executable, str(script), program=("sh",))
    assert done.returncode == 0
    assert done.stderr == ""
    assert answer.read_text() == "[0, 2, 4]"


def test_who_reads_the_output_goes_away() -> None:
    """What tasks print cannot be written: said once, and their futures resolve all the same."""
    program = """
    import os, sys
    from scaler import Client
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(reader)
    with Client(workers=2) as client:
        print(client.map(print, range(500)) == [None] * 500, file=sys.stderr)
    os._exit(0)
    """
    done = python("-c", textwrap.dedent(program))
    said = done.stderr.splitlines()
    assert sorted(said) == sorted([next(line for line in said if "BrokenPipe" in line), "True"])


def test_too_few_file_descriptors_are_said() -> None:
    program = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (14, 14))\n" + SMALL
    done = python("-c", program)
    assert done.returncode == 1
    assert "ClusterStartError: " in done.stderr.splitlines()[-1]
    assert "Too many open files" in done.stderr.splitlines()[-1]


# --- what runs the program ------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["cProfile", "pdb", "IPython"])
def test_a_program_runs_under_another(tmp_path: Path, runner: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SMALL)
    options = {
        "cProfile": ("-o", str(tmp_path / "profile")),
        "pdb": ("-c", "continue", "-c", "quit"),
        "IPython": ("--colors=NoColor", "--HistoryManager.enabled=False"),
    }[runner]
    environment = {"IPYTHONDIR": str(tmp_path / "ipython")}
    done = python("-m", runner, *options, str(script), env=environment)
    assert done.stderr == ""
    assert "[0, 2, 4]\n" in done.stdout
    assert done.returncode == 0


def test_a_program_runs_in_a_thread_of_another_with_code_that_is_nowhere() -> None:
    """As servers do that run their users' code: no file, no `__main__`, another thread."""
    program = f"""
    import threading
    thread = threading.Thread(target=exec, args=({SMALL!r}, {{"__name__": "users_code"}}))
    thread.start()
    thread.join()
    """
    assert came_out(python("-W", "error", "-c", textwrap.dedent(program)), "[0, 2, 4]\n")
