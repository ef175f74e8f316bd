"""A node in a thread of this process, with the launcher of its child processes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from actors.errors import LaunchError, SystemClosedError
from actors.limits import LAUNCH_TIMEOUT_S, STOP_TIMEOUT_S

if TYPE_CHECKING:
    from actors.runtime.launcher import Launcher
    from actors.runtime.loop import NodeLoop


class NodeThread:
    """Owns the thread. Within it: one launcher (made at first need, or at once), one loop.

    The launcher must be made by the thread that lives as long as it should: the kernel ends it
    with that thread. It is started before the heavy imports, which then overlap with its own.
    """

    def __init__(
        self,
        name: str,
        *,
        preload: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        launch_now: bool = False,
        on_broken: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Start the thread; `wait_ready` waits for its loop.

        Args:
            name: the node's name.
            preload: modules that the launcher imports before it forks.
            env: environment of child processes, default: that of this moment.
            cwd: their working directory, default: that of this moment.
            launch_now: start the launcher at once.
            on_broken: called on the thread when the loop ended by an error.
        """
        self.name = name
        self.loop: NodeLoop
        self._launcher: Launcher | None = None
        self._preload = tuple(preload)
        self._env = env
        self._cwd = cwd
        self._launch_now = launch_now
        self._on_broken = on_broken
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, name=f"node-{name}", daemon=True)
        self._unwanted = False
        try:
            self._thread.start()
        except BaseException:  # Ctrl-C while it comes up: nobody will hold it, nobody can end it
            self._unwanted = True
            if self._ready.is_set() and self._error is None:
                self.loop.finish()
            raise

    def wait_ready(self) -> None:
        """Wait until the loop runs.

        Raises:
            LaunchError: it did not come up.
        """
        if not self._ready.wait(LAUNCH_TIMEOUT_S) or self._error is not None:
            raise LaunchError(f"node {self.name} did not start: {self._error!r}") from self._error

    @property
    def launcher(self) -> Launcher:
        """The launcher, started now if it was not. For the node's thread."""
        if self._launcher is None:
            from actors.runtime.launcher import Launcher

            self._launcher = Launcher(preload=self._preload, env=self._env, cwd=self._cwd)
            if self._ready.is_set():
                self._launcher.attach(self.loop.poller)
        return self._launcher

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop the actors, end the children and the thread.

        Raises:
            SystemClosedError: the thread did not end in time.
        """
        if self._ready.wait(timeout_s) and self._error is None:
            self.loop.finish()
        self._thread.join(2 * timeout_s)
        if self._thread.is_alive():
            raise SystemClosedError(f"node {self.name} did not end within {2 * timeout_s:g} s")

    def abandon(self) -> None:
        """Close the descriptors in a fork of this process.

        The poller first: what is taken out of its kernel list here would be missing in the parent.
        """
        if self._ready.is_set() and self._error is None:
            self.loop.poller.close()
            self.loop.abandon()
        if self._launcher is not None:
            self._launcher.close()

    def _main(self) -> None:
        try:
            self._run()
        except BaseException as error:  # the thread's last word: nobody may wait for it in vain
            self._error = error
        finally:
            self._ready.set()

    def _run(self) -> None:
        if self._launch_now:
            _ = self.launcher
        from actors.runtime.loop import NodeLoop
        from actors.runtime.poller import Poller

        poller = Poller()
        try:
            self.loop = NodeLoop(self.name, poller)
            if self._launcher is not None:
                self._launcher.attach(poller)
            self._ready.set()
            if self._unwanted:
                self.loop.finish()
            self.loop.run()
        except BaseException as error:
            self._end_broken(error)
            raise
        finally:
            if self._launcher is not None:
                self._launcher.close(STOP_TIMEOUT_S)
            poller.close()

    def _end_broken(self, error: BaseException) -> None:
        """Say why first, so that nobody hears a lesser cause; then the actors let go of things."""
        self._error = error
        if self._ready.is_set():
            if self._on_broken is not None:
                self._on_broken(error)
            self.loop.node.stop_all()
