"""Every bound of the framework, with its unit. Nothing here waits, grows or retries without one."""

from typing import Final

MAILBOX_MESSAGES: Final = 1_000_000
"""Messages an actor's mailbox holds unless `spawn(mailbox_size=...)` says otherwise."""

MESSAGES_PER_RUN: Final = 64
"""Messages one actor handles before the next one has its turn."""

RUNS_PER_TURN: Final = 128
"""Runs of actors before a turn looks at the sockets and timers again."""

MAILBOX_WAIT_S: Final = 60.0
"""How long `tell` from another thread waits for room in a full mailbox; then: dead letter."""

SLOW_HANDLER_S: Final = 0.1
"""A handler that runs longer is named in a warning."""

LATE_TURN_S: Final = 0.25
"""A node's clock stands still when a turn is later than this: deadlines lose no more by a stall."""

IDLE_POLL_S: Final = 0.25
"""Longest wait for events while a deadline is open, so that a stall of our own is noticed."""

LOST_WAKE_S: Final = 1.0
"""Longest wait for events. Ctrl-C may keep a thread that has left a message from ringing."""

FRAME_BYTES: Final = 1 << 30
"""Largest frame on a link; a longer one is a protocol error."""

LINK_BUFFER_BYTES: Final = 1 << 28
"""Bytes waiting to be written on one link; beyond it, messages become dead letters."""

ASK_TIMEOUT_S: Final = 30.0
"""Deadline of an ask that names none."""

STOP_TIMEOUT_S: Final = 5.0
"""How long closing a system waits for its actors, and then for its processes."""

LAUNCH_TIMEOUT_S: Final = 30.0
"""How long a launcher or a node process may take to say that it is up."""

LAUNCHER_RESTARTS: Final = 20
"""Launchers that may die within `LAUNCHER_RESTARTS_S` and be replaced; one more ends the node."""

LAUNCHER_RESTARTS_S: Final = 60.0
"""See `LAUNCHER_RESTARTS`, seconds."""

LAUNCHER_START_DEATHS: Final = 5
"""Launchers in a row that may die before they have started a child; then the node ends."""

LAUNCHER_SILENT_S: Final = 10.0
"""A launcher that owes an answer and says nothing for this long is frozen: it is replaced."""

LAUNCHER_PRELOAD_S: Final = 300.0
"""The same for one that has not started a child yet: it may be importing, and says nothing then."""

LAUNCHER_WAITS_S: Final = (0.05, 0.1, 0.2, 0.4)
"""Waits between attempts to start a launcher in the place of one that died, where processes,
descriptors or memory are short. The node stands still meanwhile."""

DEAD_LETTERS_KEPT: Final = 1_000
"""Dead letters kept for `system.dead_letters` (older ones are only counted)."""
