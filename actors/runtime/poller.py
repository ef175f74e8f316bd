"""Wait for many file descriptors at once: epoll on Linux, poll elsewhere.

The standard `selectors` would do; importing it costs more than a node's whole start.
"""

import math
import select
import sys
from collections.abc import Callable

_WAIT_S_MAX = 3600.0
"""A longer wait than the kernel can count would be an error; waking early is none."""

_READ = select.POLLIN
_WRITE = select.POLLOUT
"""The bits are the same for epoll and poll."""


class _Entry:
    """What is wanted of one file descriptor."""

    __slots__ = ("reader", "writer")

    def __init__(self) -> None:
        self.reader: Callable[[], object] | None = None
        self.writer: Callable[[], object] | None = None

    def events(self) -> int:
        return (_READ if self.reader else 0) | (_WRITE if self.writer else 0)


class Poller:
    """Callbacks for readable and writable file descriptors. One thread uses it.

    Remove a file descriptor before you close it: a closed one cannot be taken out of the kernel's
    list any more while a copy of it is open somewhere.
    """

    def __init__(self) -> None:
        self.on_error: Callable[[int, BaseException], None] = print_error
        """Called with a file descriptor, by then removed, and what its callback raised."""
        self._entries: dict[int, _Entry] = {}
        self._epoll = select.epoll() if sys.platform == "linux" else None
        self._poll = select.poll() if self._epoll is None else None
        self._closed = False

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` whenever `fd` is readable, at its end, or broken."""
        entry = self._entries.get(fd) or _Entry()
        entry.reader = callback
        self._register(fd, entry)

    def add_alarm(self, fd: int) -> bool:
        """Let every write to the eventfd `fd` end a wait. Nobody has to read it.

        Returns:
            False where that cannot be had: read it then.
        """
        if self._epoll is None:
            return False
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)
        self._entries[fd] = _Entry()
        return True

    def add_writer(self, fd: int, callback: Callable[[], object]) -> None:
        """Call `callback` whenever `fd` is writable: keep it only while bytes are pending."""
        entry = self._entries.get(fd) or _Entry()
        entry.writer = callback
        self._register(fd, entry)

    def remove_reader(self, fd: int) -> None:
        """Stop reading `fd`. Does nothing if it is not read, or not open any more."""
        entry = self._entries.get(fd)
        if entry is not None and entry.reader is not None:
            entry.reader = None
            self._reduce(fd, entry)

    def remove_writer(self, fd: int) -> None:
        """Stop writing `fd`. Does nothing if it is not written, or not open any more."""
        entry = self._entries.get(fd)
        if entry is not None and entry.writer is not None:
            entry.writer = None
            self._reduce(fd, entry)

    def poll(self, timeout_s: float | None) -> int:
        """Wait until something is ready, run its callbacks, and return how many ran.

        Args:
            timeout_s: seconds to wait at most, rounded up to a millisecond; 0 does not wait, None
                waits without a bound.

        A callback may add and remove any file descriptor, also one that is due in this call. What a
        callback raises goes to `on_error`; only `KeyboardInterrupt` leaves this function.
        """
        return self.run(self.wait(timeout_s))

    def wait(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """Do the first half of `poll`: wait, and return what is ready, for `run`."""
        if timeout_s is not None:
            timeout_s = min(max(timeout_s, 0.0), _WAIT_S_MAX)
        if self._epoll is not None:
            return self._epoll.poll(timeout_s)
        assert self._poll is not None
        return self._poll.poll(None if timeout_s is None else math.ceil(timeout_s * 1000))

    def run(self, ready: list[tuple[int, int]]) -> int:
        """Do the second half of `poll`: run the callbacks of what `wait` returned."""
        # Resolved first: a number that a callback closes and that is then opened anew as another
        # file has another entry, and must not get the old one's event.
        due = [(fd, events, self._entries.get(fd)) for fd, events in ready]
        count = 0
        for fd, events, entry in due:
            if entry is None:
                self._forget(fd)
                continue
            broken = events & ~(_READ | _WRITE)
            if entry.reader is not None and events & ~_WRITE and self._entries.get(fd) is entry:
                count += self._run(fd, entry.reader)
                broken = 0
            if entry.writer is not None and events & (_WRITE | broken):
                count += self._run(fd, entry.writer) if self._entries.get(fd) is entry else 0
        return count

    def close(self) -> None:
        """Forget everything. The file descriptors stay open. Twice is fine."""
        self._closed = True
        self._entries.clear()
        if self._epoll is not None:
            self._epoll.close()

    def abandon(self) -> None:
        """Forget everything in a fork of the process that uses this poller.

        The kernel's list is shared with that process: nothing may be taken out of it here.
        """
        self.close()

    def _run(self, fd: int, callback: Callable[[], object]) -> int:
        try:
            callback()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # nothing a callback does may end the loop
            if self._entries.pop(fd, None) is not None:
                self._forget(fd)
            self.on_error(fd, error)
        return 1

    def _register(self, fd: int, entry: _Entry) -> None:
        poll = self._epoll or self._poll
        assert poll is not None
        if fd not in self._entries:
            poll.register(fd, entry.events())
            self._entries[fd] = entry
            return
        try:
            poll.modify(fd, entry.events())
        except FileNotFoundError:  # it was closed without a word, and its number is in use again
            poll.register(fd, entry.events())

    def _reduce(self, fd: int, entry: _Entry) -> None:
        if not entry.events():
            del self._entries[fd]
            self._forget(fd)
            return
        try:
            self._register(fd, entry)
        except OSError:
            self._entries.pop(fd, None)

    def _forget(self, fd: int) -> None:
        poll = self._epoll or self._poll
        if poll is None or self._closed:
            return
        try:
            poll.unregister(fd)
        except (OSError, KeyError, ValueError):  # closed before it was removed
            pass


def print_error(_fd: int, error: BaseException) -> None:
    """Print the traceback of an error that nobody else takes."""
    sys.excepthook(type(error), error, error.__traceback__)
