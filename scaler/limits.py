"""Every bound of `scaler`, with its unit."""

from typing import Final

CLIENT_TASKS: Final = 100_000
"""Tasks one client may have in flight."""

CLIENT_BYTES: Final = 256 << 20
"""Bytes of pickled arguments one client may have in flight."""

CANCEL_TIMEOUT_S: Final = 30.0
"""How long `cancel` waits for its confirm."""

CANCEL_GRACE_S: Final = 1.0
"""From interrupt to kill, for a task whose interrupt handler answered."""

CANCEL_SIGN_S: Final = 0.05
"""From interrupt to kill, for a task that gives no sign of life (it sits in C code)."""

CLOSE_GRACE_S: Final = 0.2
"""The grace that closing a client gives its running tasks."""

CLOSE_TIMEOUT_S: Final = 5.0
"""How long closing a client or a cluster may take."""

DROPPED_CHECK_S: Final = 0.25
"""How often it is looked whether somebody still waits for a client that was dropped."""

START_TIMEOUT_S: Final = 30.0
"""How long a cluster may take to come up."""

PREFETCH_US: Final = 20_000
"""Work sent to an executor ahead of time, microseconds of expected run time."""

PREFETCH_TASKS: Final = 2_000
"""Tasks outstanding at one worker, at most."""

EXPECTED_US: Final = 1_000
"""Expected run time of a function never run before."""

RECALL_AFTER_S: Final = 0.01
"""Tasks behind one that runs for this long go back to the scheduler."""

FUNCTIONS_KNOWN: Final = 1_000
"""Functions an executor keeps, and a scheduler keeps estimates for."""

PAYLOAD_BYTES: Final = 1 << 30
"""Largest pickle of a function, of a call's arguments, of a result."""

INLINE_BYTES: Final = 1 << 16
"""Buffers and pickles from this size on go through shared memory: below, a pipe is as fast."""

MAP_BYTES: Final = 1 << 20
"""Objects from this size on are mapped alone, and by clients, too: 100 KB are copied in a third of
the time that a new mapping takes."""

WARM_BYTES: Final = 1 << 28
"""Memory of freed objects that the process which wrote them keeps, to write there again."""

STORE_SHARE: Final = 0.3
"""Of memory, that objects may take unless `object_store_bytes` says otherwise."""

STORE_BYTES_MIN: Final = 1 << 20
"""Smallest `object_store_bytes`."""

ROOM_WAIT_S: Final = 10.0
"""How long who writes an object waits for room."""

FREED_BYTES: Final = 1 << 24
"""Freed results of an idle executor of which it is told at once; of less it hears with a task."""

FRAME_BYTES: Final = 1 << 31
"""Largest frame between worker and executor."""

OUTPUT_BYTES: Final = 1 << 16
"""Longest piece of a task's output that is sent at once."""

EXECUTOR_START_FAILURES: Final = 5
"""Executors of one worker that may die before they were ready, in a row."""

EXECUTOR_START_PAUSES_S: Final = (0.0, 0.01, 0.05, 0.2)
"""Wait after each of these before the next is started."""

EXECUTOR_KILL_S: Final = 15.0
"""From SIGKILL until an executor counts as one that cannot be killed: it hangs in the kernel.
Longer than `actors.limits.LAUNCHER_SILENT_S`: a launcher that stands still tells of no death."""

EXECUTOR_VAIN_DEATHS: Final = 3
"""Executors of one worker that may die in a row with tasks at hand and none begun: what kills them
is taken for one of these (too large to be received), and they are sent one by one from then on."""

MAX_ATTEMPTS: Final = 3
"""Attempts of a task that may be lost with their executors, unless its options say otherwise."""

BLAMELESS_LOSSES: Final = 10
"""Attempts that may be lost by nobody's fault before the task fails all the same."""

RETRY_BACKOFF_MAX_S: Final = 60.0
"""Longest wait between two attempts, unless a `Retry` says otherwise."""

PREDICATE_BYTES: Final = 1 << 16
"""Largest pickled predicate of a `Retry`: it travels with every task."""

STDERR_LINES: Final = 20
"""Lines of its stderr that the report of an executor's death shows."""

STDERR_LINE_BYTES: Final = 500
"""How much of each of them."""

MEMORY_CHECK_S: Final = 0.1
"""How often the memory of a busy executor is looked at, where it has a limit."""

EXECUTOR_MEMORY_MIN_BYTES: Final = 64 << 20
"""Smallest `max_memory_per_executor`: an idle executor takes about a third of it."""

MEMORY_SOFT_SHARE: Final = 0.8
"""Above this share of `max_memory_per_executor` an executor is replaced after its task."""

INPUTS_TIMEOUT_S: Final = 10.0
"""How long the scheduler may take to say which results it does not know, before it is asked again.
"""
