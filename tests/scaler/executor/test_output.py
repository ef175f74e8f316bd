"""What tasks print reaches the worker in whole lines, before their rows."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from scaler.limits import OUTPUT_BYTES
from scaler.protocol.tasks import RowStatus
from scaler.worker.port import ExecutorPrinted, ExecutorRows, ExecutorUp


def test_lines_arrive_in_order_with_their_stream_and_task(executor):
    def talk() -> None:
        print("one")
        print("two", file=sys.stderr)
        print("three\nfour")

    executor.run(talk)
    assert executor.printed == [
        ("stdout", "one\n"),
        ("stderr", "two\n"),
        ("stdout", "three\n"),
        ("stdout", "four\n"),
    ]
    (task_id,) = {
        output.task_id
        for event in executor.events
        if isinstance(event, ExecutorPrinted)
        for output in event.outputs
    }
    assert task_id == 1001


def test_output_comes_before_the_row(executor):
    def talk() -> None:
        print("a line")
        print("no newline", end="")

    executor.run(talk)
    executor.run(talk)
    kinds = [kind for kind, _ in itertools.groupby(map(type, executor.events))]
    assert kinds == [ExecutorUp, *[ExecutorPrinted, ExecutorRows] * 2]


def test_rows_and_output_of_many_tasks_keep_their_order(executor):
    def talk(number: int) -> None:
        if number % 3:
            print(number)

    from scaler.serialization.values import dump_arguments

    ordinals = executor.send(talk, [dump_arguments((n,), {}) for n in range(1, 301)])
    executor.row(ordinals[-1])
    order: list[int] = []
    for event in executor.events:
        if isinstance(event, ExecutorPrinted):
            order += [int(output.text) for output in event.outputs]
        elif isinstance(event, ExecutorRows):
            order += [row.ordinal for row in event.rows]
    assert order == [n for n in range(1, 301) for _ in range(2 if n % 3 else 1)]


def test_an_unfinished_line_is_sent_with_a_newline_when_the_task_ends(executor):
    def talk() -> None:
        for letter in "abc":
            print(letter, end="", flush=True)

    executor.run(talk)
    assert executor.printed == [("stdout", "abc\n")]


def test_what_a_failing_task_printed_arrives_too(executor):
    def fail() -> None:
        sys.stdout.write("before ")
        raise ValueError

    assert executor.run(fail).status is RowStatus.FAILED
    assert executor.printed == [("stdout", "before \n")]


def test_lines_of_threads_stay_whole(executor):
    def talk() -> None:
        def chatter(letter: str) -> None:
            for _ in range(200):
                for _ in range(5):
                    sys.stdout.write(letter)
                sys.stdout.write("\n")

        threads = [threading.Thread(target=chatter, args=(letter,)) for letter in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    executor.run(talk)
    lines = [text for _, text in executor.printed]
    assert sorted(lines) == sorted(f"{letter * 5}\n" for letter in "abcd" for _ in range(200))


def test_a_very_long_line_comes_in_pieces(executor):
    def talk() -> None:
        print("é" * 1_000_000)

    executor.run(talk)
    texts = [text for _, text in executor.printed]
    assert "".join(texts) == "é" * 1_000_000 + "\n"
    assert max(map(len, texts)) <= OUTPUT_BYTES


def test_a_progress_bar_that_never_ends_its_line_does_not_pile_up(executor):
    def talk() -> None:
        for _ in range(5_000):
            print("\r#", end="")

    executor.run(talk)
    texts = [text for _, text in executor.printed]
    assert "".join(texts) == "\r#" * 5_000 + "\n"
    assert len(texts) > 1


def test_text_without_an_encoding_is_escaped(executor):
    def talk() -> None:
        print("\udc80 and é")

    executor.run(talk)
    assert executor.printed == [("stdout", "\\udc80 and é\n")]


def test_bytes_written_to_the_buffer_arrive_as_text(executor):
    def talk() -> None:
        for byte in "né\n".encode():
            sys.stdout.buffer.write(bytes([byte]))
        sys.stdout.buffer.flush()

    executor.run(talk)
    assert executor.printed == [("stdout", "né\n")]


def test_the_streams_behave_like_text_streams(executor):
    def look() -> Any:
        stdout: Any = sys.stdout
        stdout.reconfigure(line_buffering=True)
        sys.stdout.writelines(["a\n", "b\n"])
        sys.stdout.close()
        print("still open")
        with contextlib.suppress(TypeError):
            sys.stdout.write(b"bytes")  # type: ignore[arg-type]
        assert isinstance(sys.stdout, io.TextIOBase)
        assert sys.stdout.writable()
        assert not sys.stdout.isatty()
        assert not sys.stdout.closed
        assert (sys.stdout.encoding, sys.stdout.errors) == ("utf-8", "backslashreplace")
        assert (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
        assert stdout.name == "<stdout>"

    assert executor.run(look).status is RowStatus.SUCCEEDED
    assert "".join(text for _, text in executor.printed) == "a\nb\nstill open\n"


def test_a_task_may_redirect_its_output(executor):
    def redirect() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            print("caught")
        print("sent")

    executor.run(redirect)
    assert executor.printed == [("stdout", "sent\n")]


def test_logging_arrives_on_stderr(executor):
    def log() -> None:
        logging.getLogger("task").warning("careful")

    executor.run(log)
    assert executor.printed == [("stderr", "careful\n")]


def test_a_finalizer_that_prints_while_its_thread_prints_does_no_harm(executor):
    def talk() -> None:
        class Noisy:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                print("finalized")

        import gc

        gc.set_threshold(1)
        for number in range(300):
            Noisy()
            print(number)
        gc.collect()
        gc.set_threshold(700)

    executor.run(talk)
    lines = "".join(text for _, text in executor.printed).splitlines()
    assert sorted(line for line in lines if line != "finalized") == sorted(map(str, range(300)))
    assert lines.count("finalized") == 300


def test_output_of_a_thread_after_its_task_goes_to_the_executors_own_stderr(executor, capfd):
    def leave() -> None:
        def later() -> None:
            go.wait()
            print("late")

        go = threading.Event()
        threading.Thread(target=later, daemon=True).start()
        threading.Timer(0.05, go.set).start()

    executor.run(leave)
    executor.bench.until(lambda: capfd.readouterr().err == "late\n")
    assert executor.printed == []


def test_a_forked_child_prints_to_the_real_streams(executor, tmp_path):
    def fork() -> None:
        redirect(1, tmp_path / "stdout")
        child = os.fork()
        if not child:
            print("from child")
            os._exit(0)
        os.waitpid(child, 0)
        print("from parent")

    executor.run(fork)
    assert executor.printed == [("stdout", "from parent\n")]
    assert (tmp_path / "stdout").read_text() == "from child\n"


def redirect(fd: int, path: Path) -> None:
    opened = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(opened, fd)
    os.close(opened)
