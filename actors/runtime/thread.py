"""A node in a thread of this process, with the launcher of its child processes."""

from __future__ import annotations

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from actors.errors import LaunchError, SystemClosedError
from actors.limits import (
    LAUNCH_TIMEOUT_S,
    LAUNCHER_RESTARTS,
    LAUNCHER_RESTARTS_S,
    LAUNCHER_START_DEATHS,
    LAUNCHER_WAITS_S,
    STOP_TIMEOUT_S,
)

if TYPE_CHECKING:
    from actors.runtime.launcher import Launcher
    from actors.runtime.launcher_watch import LauncherWatch
    from actors.runtime.loop import NodeLoop


_SHORT = (errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""What is short now may be there in a moment."""

_UNWANTED_S = 0.5
"""How long to wait for the end of a thread that may not have begun."""


class NodeThread:
    """Owns the thread. Within it: one launcher (made at first need, or at once), one loop.

    The launcher must be made by the thread that lives as long as it should: the kernel ends it
    with that thread. It is started before the heavy imports, which then overlap with its own. One
    that died is replaced at the next need.
    """

    def __init__(
        self,
        name: str,
        *,
        preload: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        launch_now: bool = False,
        imports: Sequence[str] = (),
        on_broken: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Start the thread; `wait_ready` waits for its loop.

        Args:
            name: the node's name.
            preload: modules that the launcher imports before it forks.
            env: environment of child processes, default: that of this moment.
            cwd: their working directory, default: that of this moment.
            launch_now: start the launcher at once.
            imports: modules that the thread imports before it is ready. Two threads should not
                import at a time: if Ctrl-C meets one at the lock of all imports, that stays locked.
            on_broken: called on the thread when the loop ended by an error.
        """
        self.name = name
        self.loop: NodeLoop
        self._launcher: Launcher | None = None
        self._lost_s: deque[float] = deque(maxlen=LAUNCHER_RESTARTS + 1)
        """When launchers died."""
        self._died_at_start = 0
        self._is_short = False
        """The last attempt to start one failed: who needs it next need not wait again."""
        self._watch: LauncherWatch
        self._preload = tuple(preload)
        self._env = env
        self._cwd = cwd
        self._launch_now = launch_now
        self._imports = tuple(imports)
        self._on_broken = on_broken
        self.error: BaseException | None = None
        """What has ended the thread before it was asked to."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name=f"node-{name}", daemon=True)
        self._unwanted = False
        try:
            self._thread.start()
        except BaseException:  # Ctrl-C while it comes up: nobody will hold it, nobody can end it
            self._unwanted = True
            if self._ready.wait(_UNWANTED_S) and self.error is None:
                self.loop.finish()
                self._thread.join(_UNWANTED_S)
            raise

    def wait_ready(self) -> None:
        """Wait until the loop runs.

        Raises:
            LaunchError: it did not come up.
        """
        if not self._ready.wait(LAUNCH_TIMEOUT_S) or self.error is not None:
            raise LaunchError(f"node {self.name} did not start: {self.error!r}") from self.error

    @property
    def launcher(self) -> Launcher:
        """The launcher; one is started now if there is none, or if the last one died.

        For the node's thread, at each need anew.

        Raises:
            LaunchError: it could not be started; or too many have died, which ends the node.
        """
        lost = self._launcher
        if lost is None or lost.is_lost:
            if threading.current_thread() is not self._thread:
                raise LaunchError(
                    f"node {self.name} has no launcher now, and only its own thread starts one"
                )
            self._launcher = self._replace(lost) if lost else self._start()
            return self._launcher
        return lost

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop the actors, end the children and the thread.

        Raises:
            SystemClosedError: the thread did not end in time.
        """
        if self._ready.wait(timeout_s) and self.error is None:
            self.loop.finish()
        self._thread.join(2 * timeout_s)
        if self._thread.is_alive():
            raise SystemClosedError(f"node {self.name} did not end within {2 * timeout_s:g} s")

    def abandon(self) -> None:
        """Close the descriptors in a fork of this process.

        The poller first: what is taken out of its kernel list here would be missing in the parent.
        """
        if self._ready.is_set() and self.error is None:
            self.loop.poller.close()
            self.loop.abandon()
        if self._launcher is not None:
            self._launcher.close()

    def _start(self) -> Launcher:
        from actors.runtime.launcher import Launcher

        launcher = Launcher(preload=self._preload, env=self._env, cwd=self._cwd)
        self._is_short = False
        launcher.on_lost = lambda _: self._on_lost(launcher)
        if self._ready.is_set():
            launcher.attach(self.loop.poller)
        return launcher

    def _replace(self, lost: Launcher) -> Launcher:
        """Start another launcher; if something is short, try again for a moment."""
        died_s = self._lost_s
        if self._died_at_start >= LAUNCHER_START_DEATHS:
            self._give_up(f"{self._died_at_start} in a row died before they started a child", lost)
        if len(died_s) > LAUNCHER_RESTARTS and died_s[-1] - died_s[0] < LAUNCHER_RESTARTS_S:
            self._give_up(f"{len(died_s)} died within {LAUNCHER_RESTARTS_S:g} s", lost)
        waits_s = () if self._is_short else LAUNCHER_WAITS_S
        self._is_short = True
        for wait_s in waits_s:
            try:
                return self._start()
            except LaunchError as error:
                cause = error.__cause__
                if not isinstance(cause, OSError) or cause.errno not in _SHORT:
                    raise
                time.sleep(wait_s)
        return self._start()

    def _give_up(self, why: str, lost: Launcher) -> NoReturn:
        error = LaunchError(
            f"node {self.name} gives up: of its launchers of child processes {why}; "
            f"the last time {lost.end_cause}"
        )
        self.loop.fail(error)
        raise error

    def _on_lost(self, launcher: Launcher) -> None:
        import logging

        self._lost_s.append(time.monotonic())
        self._died_at_start = 0 if launcher.has_started else self._died_at_start + 1
        log = logging.getLogger("actors")
        log.warning("node %s lost all its child processes: %s", self.name, launcher.end_cause)

    def _main(self) -> None:
        try:
            self._run()
        except BaseException as error:  # the thread's last word: nobody may wait for it in vain
            self.error = error
        finally:
            self._ready.set()

    def _run(self) -> None:
        if self._launch_now:
            _ = self.launcher
        try:
            from actors.runtime.launcher_watch import LauncherWatch
            from actors.runtime.loop import NodeLoop
            from actors.runtime.poller import Poller

            self._watch = LauncherWatch()
            for name in self._imports:
                import_module(name)
            poller = Poller()
        except BaseException:
            if self._launcher is not None:
                self._launcher.close()
            raise
        try:
            self.loop = NodeLoop(self.name, poller)
            self.loop.on_failure = self._on_failure
            self.loop.on_second = self._on_second
            if self._launcher is not None:
                self._launcher.attach(poller)
            self._ready.set()
            if self._unwanted:
                self.loop.finish()
            self.loop.run()
        except BaseException:
            if self._ready.is_set():
                self.loop.node.stop_all()  # the actors let go of things
            raise
        finally:
            if self._launcher is not None:
                self._launcher.close(STOP_TIMEOUT_S)
            poller.close()

    def _on_second(self, now_s: float) -> None:
        if self._launcher is not None:
            self._watch.check(self._launcher, now_s)

    def _on_failure(self, error: BaseException) -> None:
        import logging

        from actors.core.cell import repr_of

        self.error = error
        log = logging.getLogger("actors")
        log.error("node %s has ended by an error: %s", self.name, repr_of(error), exc_info=error)
        if self._on_broken is not None:
            self._on_broken(error)
