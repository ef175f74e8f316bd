"""What must happen sometimes: a fault that no seed meets is a test that tests nothing."""

from __future__ import annotations

from collections.abc import Mapping

SOMETIMES = (
    # What users do.
    "Submit",
    "Cancel",
    "Drop",
    "Read",
    "Close",
    "Leave",
    "Look",
    "credit was used up",
    "a cancel did not wait",
    "a client was closed in a callback",
    # What goes wrong.
    "KillExecutor",
    "FreezeExecutor",
    "FailStarts",
    "FailLaunches",
    "KillLauncher",
    "PauseNode",
    "JumpClock",
    "CrashNode",
    "the cluster broke",
    "an executor did not start",
    "an executor was not launched",
    "an executor died with claims",
    "an executor died while its task was being cancelled",
    "an executor could not be killed",
    "a task killed who received it",
    "an ask met its deadline",
    # How runs end that do not return.
    "a task ran again",
    "a task's ended its process",
    "a task's process was killed by something else",
    "a task's process went with its launcher",
    "a task's killed by its worker",
    "a task's killed over the memory limit",
    "stopped at its timeout",
    "stopped at its deadline",
    "tasks came back",
    "a task began with results of others",
    "a result had ended before it was needed",
    # What becomes of what is large.
    "a task began with objects",
    "a task passed an object on",
    "a user gave an object again",
    "an object was written in vain",
    "an executor keeps an object",
    "an executor lets an object go",
    "an executor hears at once of what was freed",
    "a value has objects",
    "an object was spilled",
    "an object was not spilled",
    "the disk was full",
    "a task began with objects from the disk",
    "a task's argument came back damaged",
    "a value came back damaged",
    "somebody waited for room",
    "an executor waited for room",
    "there was no room",
    "a user had no room",
    # What cancels are answered with.
    "confirm: canceled",
    "confirm: not found",
    "confirm: failed",
    "a result answered a cancel",
    # What futures become.
    "a value",
    "a future raised PlannedError",
    "a future raised SerializationError",
    "a future raised ObjectStoreFullError",
    "a future raised WorkerDiedError",
    "a future raised TaskTimeoutError",
    "a future raised InputFailedError",
    "a future raised ClusterBrokenError",
    "cancelled: canceled",
    "cancelled: not found",
    "cancelled: result",
    "cancelled: timeout",
    "cancelled: released",
    "not cancelled: failed",
    "not cancelled: result",
    "not cancelled: finished",
    "not cancelled: broken",
)
"""Each in at least one of a thousand seeds."""

_ENOUGH = 1_000


def missing(marks: Mapping[str, int], seeds: int) -> list[str]:
    """Return what happened in less than one of a thousand seeds; nothing for too few seeds."""
    if seeds < _ENOUGH:
        return []
    return [mark for mark in SOMETIMES if marks.get(mark, 0) < seeds / _ENOUGH]


def table(marks: Mapping[str, int], seeds: int) -> str:
    """Return in how many seeds each thing happened, the rarest first."""
    lines = [f"{'seen in':>10}  of {seeds} seeds"]
    lines += [f"{times:10}  {mark}" for mark, times in sorted(marks.items(), key=lambda m: m[1])]
    return "\n".join(lines)
