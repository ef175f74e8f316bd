"""The write end of an executor's pipe of tasks, and the claims that follow them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

from actors import Poller
from scaler.protocol.executor import RunTasks
from scaler.protocol.frames import pack_frame
from scaler.worker.claims import ClaimPipe


class TasksPipe:
    """Sends frames, and the tokens of their tasks once they are out; nothing blocks."""

    def __init__(self, poller: Poller, fd: int, claims: ClaimPipe) -> None:
        """Write `fd`, which must not block."""
        self._poller = poller
        self._fd = fd
        self._claims = claims
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        """Frames, and the ordinals whose tokens follow each of them."""
        self._has_ended = False

    def send(self, frame: RunTasks) -> None:
        """Send tasks; what the pipe has no room for is sent later."""
        self._unsent.append((memoryview(pack_frame(frame)), frame.ordinals))
        self._flush()

    def take_back(self, ordinals: Sequence[int]) -> tuple[int, ...]:
        """Return those that nobody has claimed; nobody will."""
        wanted = dict.fromkeys(ordinals)
        taken = dict.fromkeys(self._claims.take_back(wanted))
        for index, (view, waiting) in enumerate(self._unsent):
            taken.update(dict.fromkeys(number for number in waiting if number in wanted))
            kept = tuple(number for number in waiting if number not in wanted)
            self._unsent[index] = (view, kept)
        self._update_writers()
        return tuple(number for number in wanted if number in taken)

    def stop(self) -> None:
        """Send nothing any more: nobody reads it. What is here can still be taken back."""
        self._has_ended = True
        self._update_writers()

    def _flush(self) -> None:
        while self._unsent and not self._has_ended:
            view, ordinals = self._unsent[0]
            try:
                sent = os.write(self._fd, view)
            except BlockingIOError:
                self._claims.knock()
                break
            except OSError:  # it died; what is unsent can still be taken back
                self._has_ended = True
                break
            if sent < len(view):
                self._unsent[0] = (view[sent:], ordinals)
                continue
            self._unsent.popleft()
            self._claims.push(ordinals)
        self._update_writers()

    def _update_writers(self) -> None:
        if self._unsent and not self._has_ended:
            self._poller.add_writer(self._fd, self._flush)
        else:
            self._poller.remove_writer(self._fd)
        if self._claims.unwritten and not self._has_ended:
            self._poller.add_writer(self._claims.write_fd, self._flush_claims)
        else:
            self._poller.remove_writer(self._claims.write_fd)

    def _flush_claims(self) -> None:
        self._claims.flush()
        self._update_writers()
