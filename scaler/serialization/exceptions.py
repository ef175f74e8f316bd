"""Exceptions as bytes: type, remote traceback, causes, groups and notes.

An error is written as a list of rows, itself first, then its cause, its context, the members of a
group, and theirs. Each is pickled alone: one that does not pickle is replaced by a description, and
spoils no other.
"""

from __future__ import annotations

import pickle
from typing import Any, Final

import msgspec

from scaler.errors import SerializationError, TaskFailedError
from scaler.serialization.exception_body import ExceptionBody, body_of
from scaler.serialization.reasons import describe, type_name
from scaler.serialization.tracebacks import FrameRow, rows_of, traceback_of

ERRORS: Final = 100
"""Errors of one chain or group that travel."""

_CANCELLED: Final = (
    ("asyncio.exceptions", "CancelledError"),
    ("concurrent.futures._base", "CancelledError"),
)


class _Row(msgspec.Struct, array_like=True):
    """One error. Others are named by their place in the list, -1: none."""

    body: ExceptionBody
    frames: list[FrameRow]
    notes: list[str]
    cause: int = -1
    context: int = -1
    suppress_context: bool = False
    members: tuple[int, ...] = ()


def dump_exception(error: BaseException, *, note: str) -> bytes:
    """Write `error` down, so that `load_exception` gives back one of the same type.

    What would end or mislead the caller's program (`SystemExit`, `KeyboardInterrupt`, a task's own
    `CancelledError` ...) becomes a `TaskFailedError` with the original as its cause, what cannot be
    pickled a `SerializationError` that describes it. Never raises.

    Args:
        error: as it was caught, with its traceback.
        note: added to its notes: where it was raised.
    """
    try:
        rows = _Writer().write(_presentable(error))
        rows[0].notes.append(note)
        return pickle.dumps(rows, 5)
    except BaseException as trouble:
        reason = f"cannot be written down: {type_name(trouble)}"
        text = f"the task raised {type_name(error)}, which {reason}"
        body = ExceptionBody("pickle", pickle.dumps(SerializationError(text), 5), text)
        return pickle.dumps([_Row(body, [], [note])], 5)


def load_exception(payload: bytes) -> BaseException:
    """Return the error that `dump_exception` wrote down. Never raises.

    What does not open in this process comes as a `SerializationError` that describes it.
    """
    try:
        return _Reader(pickle.loads(payload)).read()
    except (Exception, SystemExit, GeneratorExit) as trouble:
        return SerializationError(f"the task's exception cannot be opened: {describe(trouble)}")


def _presentable(error: BaseException) -> BaseException:
    """Return `error`, or a `TaskFailedError` because of it that may be raised at the caller."""
    if isinstance(error, SystemExit):
        text = f"the task called sys.exit({error.code!r})"
    elif any((kind.__module__, kind.__qualname__) in _CANCELLED for kind in type(error).__mro__):
        text = f"something that the task waited for was cancelled: {describe(error)}"
    elif not isinstance(error, Exception):
        text = f"the task raised {describe(error)}"
    else:
        return error
    failed = TaskFailedError(text)
    failed.__cause__ = error
    return failed


class _Writer:
    """Writes an error, and all that hang on it, into rows."""

    def __init__(self) -> None:
        self._errors: list[BaseException] = []
        self._places: dict[int, int] = {}

    def write(self, error: BaseException) -> list[_Row]:
        self._place(error)
        return [self._row(each) for each in self._errors]  # which grows meanwhile

    def _place(self, error: Any) -> int:
        """Return the place of `error` in the list; -1 for none, and for one too many."""
        if not isinstance(error, BaseException):
            return -1
        if id(error) not in self._places:
            if len(self._errors) >= ERRORS:
                return -1
            self._places[id(error)] = len(self._errors)
            self._errors.append(error)
        return self._places[id(error)]

    def _row(self, error: BaseException) -> _Row:
        in_group = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        members = tuple(place for place in map(self._place, in_group) if place >= 0)
        notes = _notes(error)
        if len(members) < len(in_group):
            notes.append(f"{len(in_group) - len(members)} more of this group were left out")
        return _Row(
            body=body_of(error),
            frames=rows_of(error.__traceback__),
            notes=notes,
            cause=self._place(error.__cause__),
            context=self._place(error.__context__),
            suppress_context=error.__suppress_context__,
            members=members,
        )


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", None)
    return [note for note in notes if type(note) is str] if type(notes) is list else []


class _Reader:
    """Makes errors of rows."""

    def __init__(self, rows: list[_Row]) -> None:
        self._rows = rows
        self._errors: dict[int, BaseException] = {}

    def read(self) -> BaseException:
        for place in range(len(self._rows)):
            self._open(place)
        for place, row in enumerate(self._rows):
            self._dress(self._errors[place], row)
        return self._errors[0]

    def _open(self, place: int) -> BaseException:
        """Return the error at `place`. Members of a group come before the group."""
        if place not in self._errors:
            row = self._rows[place]
            members = [self._open(member) for member in row.members]
            try:
                error = row.body.open(members)
            except (Exception, SystemExit, GeneratorExit) as trouble:
                error = SerializationError(
                    f"the task raised {row.body.text}\n"
                    f"This exception cannot be opened in this process: {describe(trouble)}"
                )
            self._errors[place] = error
        return self._errors[place]

    def _dress(self, error: BaseException, row: _Row) -> None:
        """Give `error` its traceback, chain and notes, also if its class is frozen."""
        put = BaseException.__setattr__
        put(error, "__traceback__", traceback_of(row.frames))
        put(error, "__cause__", self._errors.get(row.cause))
        put(error, "__context__", self._errors.get(row.context))
        put(error, "__suppress_context__", row.suppress_context)
        if row.notes:
            put(error, "__notes__", row.notes)
