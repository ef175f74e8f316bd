"""Where an executor starts, and its loop: claim, run, answer."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import signal
import time
from collections.abc import Sequence
from typing import NoReturn

import msgspec

from scaler import place
from scaler.executor.channel import Channel
from scaler.executor.death import go_first, report_deaths
from scaler.executor.guard import TaskGuard
from scaler.executor.interrupt import Interrupter
from scaler.executor.objects import ExecutorObjects
from scaler.executor.output import TaskPrinter
from scaler.executor.surroundings import Surroundings
from scaler.objects.file import SharedFile
from scaler.protocol.executor import KNOCK, TOKEN, ExecutorConfig, ExecutorReady, Page
from scaler.protocol.tasks import Task


def main(payload: bytes, fds: Sequence[int]) -> None:
    """Run tasks until the worker is gone. The launcher calls this in a fresh process.

    Args:
        payload: an `ExecutorConfig`.
        fds: pipe of tasks, pipe of answers, page, read end of the claim pipe, shared memory, file
            of what was spilled, write end of stderr.
    """
    place.inside_task = True
    *kept, stderr_fd = fds
    for fd in kept:
        os.set_inheritable(fd, False)
    report_deaths(stderr_fd)
    tasks_fd, answers_fd, page_fd, claim_fd, memory_fd, disk_fd = kept
    page = Page(memoryview(mmap.mmap(page_fd, Page.SIZE_BYTES)))
    os.close(page_fd)
    config = msgspec.msgpack.decode(payload, type=ExecutorConfig)
    channel = Channel(tasks_fd, answers_fd)
    memory, disk = SharedFile(memory_fd), SharedFile(disk_fd)
    objects = ExecutorObjects(config, memory, disk, channel.send)
    executor = Executor(config, page, channel, claim_fd, objects)
    try:
        executor.run()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the worker let go of us
    except ForkedTaskError:
        os._exit(1)


def _blocking(claim_fd: int) -> int:
    """Return the read end of the claim pipe with settings of its own.

    The worker, who reads tokens back, must not block, and shares the settings of `claim_fd`. Where
    there is no /proc that one is kept, and the executor waits for it before it reads.
    """
    try:
        own = os.open(f"/proc/self/fd/{claim_fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return claim_fd
    os.close(claim_fd)
    return own


def _await_death() -> NoReturn:
    """Start nothing any more: the worker kills this process for what the task left behind."""
    while True:
        signal.pause()


class ForkedTaskError(BaseException):
    """A forked child of a task came out of it: it is not the executor, and must end."""


class Executor:
    """One process that runs tasks. Everything here happens on its main thread."""

    def __init__(
        self,
        config: ExecutorConfig,
        page: Page,
        channel: Channel,
        claim_fd: int,
        objects: ExecutorObjects,
    ) -> None:
        """Make this process an executor: handlers, streams, what happens at a fork."""
        self._pid = os.getpid()
        self._page = page
        self._channel = channel
        self._claim_fd = _blocking(claim_fd)
        self._objects = objects
        self._arrived = select.poll()
        self._arrived.register(channel.tasks_fd, select.POLLIN)
        self._interrupter = Interrupter(page)
        self._interrupter.install()
        self._printer = TaskPrinter(channel, self._interrupter)
        self._printer.install()
        self._surroundings = Surroundings(self._interrupter, self._printer)
        self._is_forked = False
        self._guard = TaskGuard(
            config.worker,
            self._pid,
            channel.functions,
            self._interrupter,
            page.item_setter(),
            objects,
        )
        os.register_at_fork(after_in_child=self._let_go)

    def run(self) -> None:
        """Claim, run and answer until the worker is gone, or this process cannot be put in order.

        Raises:
            EOFError: the worker closed its end.
            OSError: the worker is gone.
            ForkedTaskError: this is a fork that returned from its task.
        """
        page, guard, channel, printer = self._page, self._guard, self._channel, self._printer
        objects = self._objects
        surroundings = self._surroundings
        channel.send(ExecutorReady(self._pid))
        go_first()  # now: until a task comes there is time
        while True:
            ordinal = self._claim()
            task = channel.bodies.pop(ordinal, None) or self._await_body(ordinal)
            started_ns = time.monotonic_ns()
            if surroundings.is_behind and not surroundings.catch_up(started_ns):
                return  # the task has not begun: it comes back
            page.begin(ordinal, task.task_id, started_ns)
            printer.task_id = task.task_id
            row = guard.run(ordinal, task, started_ns)
            if self._is_forked:
                raise ForkedTaskError
            printer.finish()
            printer.task_id = None
            page.ended = ordinal
            channel.send(objects.frame(row))
            if row.unclean:
                _await_death()
            is_clean = surroundings.put_back(task.function_id)
            page.running = 0
            if not is_clean:
                return  # the next task begins in a new process

    def _claim(self) -> int:
        """Block until a token is there, and take it: from now on the task is ours.

        Only the pipe is waited for: a frame alone, whose token is about to follow, wakes nobody.
        """
        while True:
            if self._objects.has_doubts and not self._has_claims():
                self._settle()
            try:
                token = os.read(self._claim_fd, TOKEN.size)
            except BlockingIOError:
                select.select((self._claim_fd,), (), ())
                continue
            if not token:
                raise EOFError
            ordinal: int = TOKEN.unpack(token)[0]
            if ordinal != KNOCK:
                return ordinal
            while self._arrived.poll(0):  # a part of a long frame, whose token comes at its end
                self._receive()

    def _has_claims(self) -> bool:
        return bool(select.select((self._claim_fd,), (), (), 0)[0])

    def _settle(self) -> None:
        frame = self._objects.settle()
        if frame is not None:
            self._channel.send(frame)

    def _await_body(self, ordinal: int) -> Task:
        bodies = self._channel.bodies
        while ordinal not in bodies:
            self._receive()
        return bodies.pop(ordinal)

    def _receive(self) -> None:
        self._channel.receive()
        while self._channel.forgotten:
            self._guard.forget(self._channel.forgotten.pop())
        if self._channel.freed:
            self._objects.freed(self._channel.freed)
            self._channel.freed.clear()

    def _let_go(self) -> None:
        """Run in every forked child of a task: page, pipes and claims are the parent's."""
        self._is_forked = True
        self._interrupter.armed = 0
        self._printer.abandon()
        self._channel.abandon()
        self._page.detach()
        self._guard.show_item = self._page.item_setter()
        with contextlib.suppress(OSError):
            os.close(self._claim_fd)
