from __future__ import annotations

import dis
import traceback

import pytest

from scaler.serialization.tracebacks import FRAMES, rows_of, traceback_of


def test_no_traceback_is_no_rows() -> None:
    assert rows_of(None) == []
    assert traceback_of([]) is None


def test_rows_give_back_file_name_line_and_function() -> None:
    try:
        raise ValueError
    except ValueError as error:
        rows = rows_of(error.__traceback__)
        original = traceback.extract_tb(error.__traceback__)
    made = traceback_of(rows)
    assert made is not None
    assert made.tb_frame.f_code.co_firstlineno == rows[0][2] < rows[0][3]
    (copied,) = traceback.extract_tb(made)
    assert (copied.filename, copied.lineno, copied.name) == (
        original[0].filename,
        original[0].lineno,
        "test_rows_give_back_file_name_line_and_function",
    )
    assert copied.line == "raise ValueError"


def test_a_line_far_down_and_a_name_that_is_no_identifier_survive() -> None:
    rows = [
        ("<cell 1>", "<module>", 1, 123_456, "__main__", "None"),
        ("f.py", "<lambda>", 7, 7, "m", ""),
    ]
    copied = traceback.extract_tb(traceback_of(rows))
    assert [(frame.filename, frame.lineno, frame.name) for frame in copied] == [
        ("<cell 1>", 123_456, "<module>"),
        ("f.py", 7, "<lambda>"),
    ]


def test_the_frames_that_called_the_task_are_left_out() -> None:
    ours = {"__name__": "scaler.executor.guard"}
    exec("def call(task): task()", ours)

    def task() -> None:
        raise ValueError

    try:
        ours["call"](task)  # type: ignore[operator]
    except ValueError as error:
        called = error.__traceback__
        assert called is not None
        assert [row[1] for row in rows_of(called.tb_next)] == ["task"]
    with pytest.raises(ValueError) as caught:
        exec("raise ValueError", ours)
    own = caught.value.__traceback__
    assert own is not None
    assert len(rows_of(own.tb_next)) == 1, "better ours than none"


def test_a_long_traceback_keeps_both_ends() -> None:
    def down(depth: int) -> None:
        if depth:
            down(depth - 1)
        raise ValueError

    try:
        down(500)
    except ValueError as error:
        rows = rows_of(error.__traceback__)
    assert len(rows) == FRAMES
    assert rows[0][1] == "test_a_long_traceback_keeps_both_ends"
    assert len(traceback.extract_tb(traceback_of(rows))) == FRAMES


def test_each_frame_is_at_a_true_instruction_that_has_no_columns() -> None:
    copied = traceback_of([("<cell 1>", "f", 3, 3, "m", ""), ("f.py", "g", 1, 9, "m", "")])
    while copied is not None:
        offsets = [step.offset for step in dis.get_instructions(copied.tb_frame.f_code)]
        assert copied.tb_lasti in offsets, "notebooks look for it, for ever"
        assert copied.tb_frame.f_lineno == copied.tb_lineno
        columns = list(copied.tb_frame.f_code.co_positions())[copied.tb_lasti // 2][2:]
        assert columns == (None, None), "they would underline a part of another line"
        copied = copied.tb_next
