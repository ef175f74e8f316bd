"""A node that is a whole child process: what it runs, and how its parent starts it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence

import msgspec

import actors.runtime.links  # noqa: F401 - so that the launcher has it before it forks
from actors.runtime.exit_status import ExitStatus
from actors.runtime.launcher import Child, Launcher
from actors.runtime.loop import NodeLoop
from actors.runtime.poller import Poller

_ENTRY = "actors.runtime.process:main"
_log = logging.getLogger("actors")


class NodeConfig(msgspec.Struct, frozen=True):
    """What a node process is told at its start."""

    name: str
    parent: str


def start_node_process(
    loop: NodeLoop, launcher: Launcher, name: str, on_exit: Callable[[ExitStatus], None]
) -> Child:
    """Start a child process with a node and link it. For the loop's thread.

    The node is given up when its process has ended, with the exit status as the cause; if only
    the link ends, the process is killed.

    Raises:
        LaunchError: the launcher is gone.
        OSError: no descriptor is left.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        payload = msgspec.msgpack.encode(NodeConfig(name, loop.node.name))

        def exited(status: ExitStatus) -> None:
            loop.links.lose(name, status.cause)
            on_exit(status)

        try:
            child = launcher.launch(_ENTRY, payload, [theirs.fileno()], on_exit=exited)
        except BaseException:
            ours.close()
            raise
    loop.links.add(name, ours, on_end=lambda reason: launcher.kill(child))
    return child


def main(payload: bytes, fds: Sequence[int]) -> None:
    """Run a node until its parent stops it or is gone."""
    config = msgspec.msgpack.decode(payload, type=NodeConfig)
    poller = Poller()
    loop = NodeLoop(config.name, poller)
    loop.links.default_route = config.parent

    def parent_gone(reason: str) -> None:
        _log.info("node %s ends: %s", config.name, reason)
        loop.finish()

    link = socket.socket(fileno=fds[0])
    # Held open to the end: the parent then sees this process exit, not a link that was cut.
    os.dup(link.fileno())
    loop.links.add(config.parent, link, on_end=parent_gone)
    try:
        loop.run()
    finally:
        poller.close()
