"""The responder's end of the fork server: ask for a child, learn how it ended, and start a new server when one dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
from dataclasses import dataclass, field
from uuid import UUID

FACT_BYTES = 4096
logger = logging.getLogger("prefect.responder")


def reserve(run: UUID) -> socket.socket | None:
    """Hold the name of a run for as long as the socket lives in any process of this host; None when another holds it.

    The child inherits the socket, so a name that is free proves that nobody here executes the run.
    """
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0salvor-run-{run}")
    except OSError:
        name.close()
        return None
    return name


class ForkServerLost(Exception):  # noqa: N818 - a fact, which is answered by another attempt
    """The fork server died before it had given the run to a child."""


@dataclass
class Child:
    """A forked run, with what Prefect's process handle asks of a process."""

    run: UUID
    pid: int = 0
    returncode: int | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Forks:
    """Keeps one fork server alive and passes runs to it."""

    def __init__(self, preload: list[str]) -> None:
        """Remember what children shall have imported; nothing is started yet."""
        self.preload = preload
        self.children: dict[UUID, Child] = {}
        self.pid = 0
        self._socket: socket.socket | None = None
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> socket.socket:
        """Start a fork server; it says itself when it has imported everything."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        command = [sys.executable, "-m", "flows.triggers.forkserver", str(theirs.fileno()), *self.preload]
        with theirs:  # a session of its own: Ctrl-C at the responder's terminal must not reach a recovery
            self._process = await asyncio.create_subprocess_exec(
                *command, pass_fds=[theirs.fileno()], start_new_session=True, stdin=asyncio.subprocess.DEVNULL
            )
        self._socket, self.pid = ours, self._process.pid
        return ours

    async def listen(self) -> None:
        """Take in what the fork server reports; when it dies, its runs have crashed and a new one is started."""
        while True:
            sock = self._socket or await self.start()
            while fact := await self._receive(sock):
                self._take_in(json.loads(fact))
            logger.warning("The fork server %s has died; starting another.", self.pid)
            self._lose_everything()

    @staticmethod
    async def _receive(sock: socket.socket) -> bytes:
        with contextlib.suppress(ConnectionError):
            return await asyncio.get_running_loop().sock_recv(sock, FACT_BYTES)
        return b""

    def _take_in(self, fact: dict[str, str | int]) -> None:
        if "ready" in fact:
            self._ready.set()
            return
        child = self.children.get(UUID(str(fact["run"])))
        if child is None:
            return
        child.pid = int(fact["pid"])
        child.started.set()
        if "exit" in fact:
            child.returncode = int(fact["exit"])
            self.children.pop(child.run, None)
            child.ended.set()

    def _lose_everything(self) -> None:
        """Watch the children that live on; those that were never forked are given back to their callers."""
        self.close()
        self._ready.clear()
        for child in [*self.children.values()]:
            self._watch(child)
            child.started.set()

    def _watch(self, child: Child) -> None:
        """Notice the end of a child whose parent is gone; how it ended nobody can tell."""
        try:
            fd = os.pidfd_open(child.pid) if child.pid else -1
        except ProcessLookupError:
            fd = -1
        if fd < 0:
            self._bury(child)
            return
        asyncio.get_running_loop().add_reader(fd, self._bury, child, fd)

    def _bury(self, child: Child, fd: int = -1) -> None:
        if fd >= 0:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)
        child.returncode = 1
        self.children.pop(child.run, None)
        child.ended.set()

    async def hand_over(self, run: UUID, order: bytes, name: socket.socket) -> Child:
        """Pass ORDER to a child, together with the reserved name; returns when the child has it."""
        await self._ready.wait()
        if self._socket is None:
            raise ForkServerLost
        child = self.children[run] = Child(run)
        with os.fdopen(os.memfd_create(f"run-{run}"), "wb") as memory:
            memory.write(order)
            memory.flush()
            socket.send_fds(self._socket, [str(run).encode()], [memory.fileno(), name.fileno()])
        await child.started.wait()
        if not child.pid:
            raise ForkServerLost
        return child

    def close(self) -> None:
        """Hang up: the fork server ends when its last child has."""
        if self._socket:
            self._socket.close()
            self._socket = None
