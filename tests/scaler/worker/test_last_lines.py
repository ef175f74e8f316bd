"""The end of a stream of bytes, as the report of a death shows it."""

from __future__ import annotations

import os

from hypothesis import example, given
from hypothesis import strategies as st

import actors
import scaler
from scaler.limits import STDERR_LINE_BYTES, STDERR_LINES
from scaler.worker.last_lines import LastLines, excerpt


def text_of(*pieces: bytes) -> str:
    last = LastLines()
    for piece in pieces:
        last.feed(piece)
    return last.text()


def numbered(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


def indented(lines: list[str]) -> str:
    return "".join(f"\n    {line}" for line in lines)


def test_nothing_is_no_text():
    assert text_of() == ""
    assert text_of(b"\n\n \n\t\r\n") == ""


def test_a_line_without_an_end_counts():
    assert text_of(b"one\ntwo") == indented(["one", "two"])


def test_the_last_lines_are_shown_however_many_came():
    lines = numbered(10_000)
    data = "\n".join(lines).encode()
    assert text_of(data) == indented(lines[-STDERR_LINES:])
    assert text_of(*(data[at : at + 1000] for at in range(0, len(data), 1000))) == text_of(data)


def test_empty_lines_take_no_room():
    lines = numbered(STDERR_LINES)
    assert text_of("\n\n".join(lines).encode()) == indented(lines)


def test_a_long_line_is_cut_and_leaves_room_for_the_others():
    assert text_of(b"before\n", b"x" * 70_000, b"x" * 70_000, b"\nafter\n") == indented(
        ["before", "x" * STDERR_LINE_BYTES, "after"]
    )


def test_of_a_progress_bar_its_last_state_is_shown():
    assert text_of(b"\r 10%", b"\r 20%", b"\r 30%\n", b"done\r\n") == indented([" 30%", "done"])


def test_what_is_no_text_is_escaped_and_colours_go():
    assert text_of(b"\xff\xc3\xa4\x00\x1b[31mred\x1b[0m\x07\ttab\n") == indented(
        ["\\xffä\\x00red\\x07\ttab"]
    )


@given(st.lists(st.one_of(st.sampled_from([b"\n", b"\r", b"\r\n", b"x" * 600]), st.binary())))
@example([b"x" * 600, b"\r", b"new"])
def test_how_the_bytes_were_cut_into_pieces_changes_nothing(pieces: list[bytes]):
    whole = text_of(b"".join(pieces))
    assert text_of(*pieces) == whole
    assert len(whole.splitlines()) <= STDERR_LINES * (1 + STDERR_LINE_BYTES)


def frame(*parts: str) -> str:
    return f'  File "{os.path.join(*parts)}", line 7 in run'


CRASH = "Fatal Python error: Segmentation fault"
OURS = [
    frame(os.path.dirname(scaler.__file__), "executor", "guard.py"),
    frame(os.path.dirname(actors.__file__), "runtime", "launcher_child.py"),
    '  File "<string>", line 14 in <module>',
    "Extension modules: numpy.core (total: 1)",
]


def test_a_crash_is_shown_without_the_frames_below_the_task():
    theirs = [frame("home", "user.py"), frame("lib", "string.py")]
    assert excerpt([CRASH, *theirs, *OURS]) == [CRASH, *theirs]


def test_a_crash_deep_in_a_stack_is_shown_from_its_innermost_frame_on():
    theirs = [frame("home", f"module{number}.py") for number in range(90)]
    shown = excerpt([*numbered(5), CRASH, *theirs, *OURS])
    assert shown == [CRASH, *theirs[: STDERR_LINES - 1]]


def test_before_a_short_crash_there_is_room_for_what_was_said_before():
    shown = excerpt([*numbered(50), CRASH, *OURS])
    assert shown == [*numbered(50)[-STDERR_LINES + 1 :], CRASH]


def test_of_many_threads_the_one_that_crashed_comes_first():
    others = ["Thread 0x1 (most recent call first):", *numbered(40)] * 2
    culprit = ["Current thread 0x2 (most recent call first):", frame("home", "user.py")]
    shown = excerpt([*numbered(50), CRASH, *others, *culprit, *OURS])
    assert shown[-3:] == [CRASH, *culprit]
    assert excerpt([CRASH, *culprit, *others])[:3] == [CRASH, *culprit]
