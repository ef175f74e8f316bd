"""The real executor port: a child of the launcher, three pipes, a shared page."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from actors import ExitStatus, Launcher, LocalMessage, Poller
from scaler.protocol.executor import (
    INTERRUPT_SIGNAL,
    ExecutorConfig,
    ExecutorFrame,
    ExecutorReady,
    Page,
    RowFrame,
    RunTasks,
)
from scaler.protocol.frames import READ_BYTES, FrameCutter, FrameTooLongError, pack_frame
from scaler.protocol.tasks import Function, Task, TaskOutput, TaskRow
from scaler.worker.claims import ClaimPipe
from scaler.worker.port import ExecutorExited, ExecutorPrinted, ExecutorRows, ExecutorUp

_ENTRY: Final = "scaler.executor.main:main"
_ANSWERS_BYTES: Final = 1 << 18
_READS: Final = 64
"""Reads of one pipe in a row, before others have their turn."""

_decode: Callable[[bytes], ExecutorFrame] = msgspec.msgpack.Decoder(ExecutorFrame).decode


class ExecutorProcess:
    """An `ExecutorPort` on a process of its own. See there what the methods do."""

    def __init__(
        self,
        number: int,
        worker: str,
        poller: Poller,
        launcher: Launcher,
        tell: Callable[[LocalMessage], None],
    ) -> None:
        """Start the executor, without waiting for it.

        Args:
            number: of this incarnation.
            worker: name of its worker.
            poller: of the node whose thread uses this port.
            launcher: what starts the process.
            tell: gets the events, on the node's thread.

        Raises:
            LaunchError: the launcher is gone.
            OSError: no descriptor or no memory is left.
        """
        self.number = number
        self._poller = poller
        self._launcher = launcher
        self._tell = tell
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        """Frames, and the ordinals whose tokens follow each of them."""
        self._is_up = False
        self._has_ended = False
        """Nothing more comes over the pipe, and nothing need be sent."""
        self._has_exited = False
        self._is_closed = False
        self._fault = ""
        page_fd = _open_page()
        self._memory = mmap.mmap(page_fd, Page.SIZE_BYTES)
        self._page = Page(memoryview(self._memory))
        self._claims = ClaimPipe()
        tasks_fd, self._tasks_fd = os.pipe()
        self._answers_fd, answers_fd = os.pipe()
        os.set_blocking(self._tasks_fd, False)
        os.set_blocking(self._answers_fd, False)
        _enlarge(self._answers_fd)
        self._cutter = FrameCutter()
        payload = msgspec.msgpack.encode(ExecutorConfig(worker))
        fds = (tasks_fd, answers_fd, page_fd, self._claims.read_fd)
        try:
            self._child = launcher.launch(_ENTRY, payload, fds, on_exit=self._on_exit)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(tasks_fd)
            os.close(answers_fd)
            os.close(page_fd)
        poller.add_reader(self._answers_fd, self._on_readable)

    def __repr__(self) -> str:
        state = "exited" if self._has_exited else "up" if self._is_up else "starting"
        return f"<ExecutorProcess {self.number} pid={self._child.pid}: {state}>"

    def send(
        self,
        ordinals: Sequence[int],
        tasks: Sequence[Task],
        functions: Sequence[Function] = (),
        dropped: Sequence[int] = (),
        forgotten: Sequence[bytes] = (),
    ) -> None:
        """Send tasks; what the pipe has no room for is sent later."""
        ordinals = tuple(ordinals)
        frame = RunTasks(ordinals, tuple(tasks), tuple(functions), tuple(dropped), tuple(forgotten))
        self._unsent.append((memoryview(pack_frame(frame)), ordinals))
        self._flush()

    def take_back(self, ordinals: Sequence[int]) -> tuple[int, ...]:
        """Return those that have not begun; they never will here. The rest has, or has ended."""
        if self._is_closed:
            return ()
        wanted = dict.fromkeys(ordinals)
        taken = dict.fromkeys(self._claims.take_back(wanted))
        for index, (view, waiting) in enumerate(self._unsent):
            taken.update(dict.fromkeys(number for number in waiting if number in wanted))
            kept = tuple(number for number in waiting if number not in wanted)
            self._unsent[index] = (view, kept)
        self._update_writers()
        return tuple(number for number in wanted if number in taken)

    def running(self) -> int:
        """Return the ordinal that runs now (or ran when the executor died), 0: none."""
        return 0 if self._is_closed else self._page.running

    def running_for(self) -> float:
        """Return for how many seconds it has been running, 0 if it only waits to send its row."""
        if self._is_closed or self._page.ended == self._page.running:
            return 0.0
        return time.monotonic() - self._page.started_ns / 1e9

    def item(self) -> int:
        """Return the index within the chunk that runs."""
        return 0 if self._is_closed else self._page.item

    def answered(self) -> int:
        """Return the last ordinal whose interrupt was seen by the executor, 0: none."""
        return 0 if self._is_closed else self._page.answered

    def interrupt(self, ordinal: int) -> None:
        """Raise `TaskInterrupt` in that task, if it runs or will; otherwise nothing happens."""
        if self._has_exited or self._is_closed:
            return
        self._page.interrupt = ordinal  # looked at when a task begins, so too early is fine
        self._launcher.signal(self._child, INTERRUPT_SIGNAL)

    def kill(self) -> None:
        """Kill the executor and all processes of its group. `ExecutorExited` follows."""
        self._launcher.kill(self._child)

    def close(self) -> None:
        """Give memory and descriptors back; the executor ends by itself if it still runs."""
        if self._is_closed:
            return
        self._is_closed = True
        self._stop_listening()
        self._poller.remove_writer(self._claims.write_fd)
        os.close(self._tasks_fd)
        os.close(self._answers_fd)
        self._claims.close()
        self._unsent.clear()
        self._page.release()
        self._memory.close()

    def _flush(self) -> None:
        if self._is_closed:
            return
        while self._unsent and not self._has_ended:
            view, ordinals = self._unsent[0]
            try:
                sent = os.write(self._tasks_fd, view)
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
            self._poller.add_writer(self._tasks_fd, self._flush)
        else:
            self._poller.remove_writer(self._tasks_fd)
        if self._claims.unwritten and not self._has_ended:
            self._poller.add_writer(self._claims.write_fd, self._flush_claims)
        else:
            self._poller.remove_writer(self._claims.write_fd)

    def _flush_claims(self) -> None:
        self._claims.flush()
        self._update_writers()

    def _on_readable(self) -> None:
        try:
            self._read()
        except Exception as error:  # a bug of ours; the poller would only stop listening
            self._give_up(f"its message could not be handled: {error!r}")

    def _read(self) -> bool:
        """Read a bounded part of what is there and tell it; return whether more may come."""
        frames: list[bytes] = []
        data: bytes | None = None
        try:
            for _ in range(_READS):
                data = _read_some(self._answers_fd)
                frames += self._cutter.cut(data or b"")
                if data is None or len(data) < READ_BYTES:
                    break
        except FrameTooLongError as error:
            self._give_up(f"it sent a malformed frame: {error}")
        self._handle(frames)
        if data == b"":  # dead; or a task closed the pipe: then it is of no use any more
            self._stop_listening()
            self.kill()
        return bool(data) and not self._fault

    def _handle(self, frames: list[bytes]) -> None:
        rows: list[TaskRow] = []
        outputs: list[TaskOutput] = []
        for data in frames:
            try:
                frame = _decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._give_up(f"it sent a malformed frame: {error}")
                break
            if isinstance(frame, RowFrame):
                self._tell_outputs(outputs)
                rows.append(frame.row)
            elif isinstance(frame, ExecutorReady):
                self._is_up = True
                self._tell(ExecutorUp(self.number, frame.pid))
            else:
                self._tell_rows(rows)
                outputs.append(frame.output)
        self._tell_outputs(outputs)
        self._tell_rows(rows)

    def _tell_rows(self, rows: list[TaskRow]) -> None:
        if rows:
            self._tell(ExecutorRows(self.number, tuple(rows)))
            rows.clear()

    def _tell_outputs(self, outputs: list[TaskOutput]) -> None:
        if outputs:
            self._tell(ExecutorPrinted(self.number, tuple(outputs)))
            outputs.clear()

    def _give_up(self, reason: str) -> None:
        """Kill an executor that sends what no correct one sends."""
        self._fault = reason
        self._stop_listening()
        self.kill()

    def _stop_listening(self) -> None:
        self._has_ended = True
        self._poller.remove_reader(self._answers_fd)
        self._poller.remove_writer(self._tasks_fd)

    def _on_exit(self, status: ExitStatus) -> None:
        if not self._is_closed:
            while not self._fault and self._read():
                pass
            self._stop_listening()
        self._has_exited = True
        cause = self._fault or status.cause
        self._tell(ExecutorExited(self.number, cause, status.code, status.signal))


def _read_some(fd: int) -> bytes | None:
    """Return what is there: `None` for nothing yet, empty at the end."""
    try:
        return os.read(fd, READ_BYTES)
    except BlockingIOError:
        return None
    except OSError:  # it died with bytes of ours unread
        return b""


def _enlarge(pipe_fd: int) -> None:
    """Let a pipe hold some thousand rows, so that the executor goes on while nobody reads."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # this user has used up the kernel's allowance
            fcntl.fcntl(pipe_fd, fcntl.F_SETPIPE_SZ, _ANSWERS_BYTES)


def _open_page() -> int:
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("executor-page", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, Page.SIZE_BYTES)
    return fd
