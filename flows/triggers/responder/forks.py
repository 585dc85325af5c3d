"""The responder's end of the fork server: ask for a child, learn how it ended, and start a new server when one dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

FACT_BYTES = 4096
RESTART_SECONDS = 1.0
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


def at_end(pid: int, tell: Callable[[], object]) -> None:
    """Call TELL when the process has ended, whosever child it is; at once when there is none."""
    loop = asyncio.get_running_loop()
    try:
        fd = os.pidfd_open(pid)
    except (ProcessLookupError, OSError):
        tell()
        return

    def ended() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        tell()

    loop.add_reader(fd, ended)


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

    def start(self) -> socket.socket:
        """Start a fork server; it says itself when it has imported everything."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self.pid = self.spawn(theirs)
        self._socket = ours
        return ours

    def spawn(self, theirs: socket.socket) -> int:
        """Start the process of a fork server at the other end of the socket, and see to it that it is buried."""
        command = [sys.executable, "-m", "flows.triggers.responder.forkserver", str(theirs.fileno()), *self.preload]
        # A session of its own: Ctrl-C at the responder's terminal must not reach a recovery.
        process = subprocess.Popen(  # noqa: S603
            command, pass_fds=[theirs.fileno()], start_new_session=True, stdin=subprocess.DEVNULL
        )
        at_end(process.pid, process.wait)
        return process.pid

    async def listen(self) -> None:
        """Take in what the fork server reports; when it dies, start another."""
        while True:
            sock = self._socket or self.start()
            while fact := await self._receive(sock):
                self._take_in(json.loads(fact))
            logger.warning("The fork server %s has died; starting another.", self.pid)
            self._lose_everything()
            await asyncio.sleep(RESTART_SECONDS)

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
            at_end(child.pid, partial(self._bury, child))
            child.started.set()

    def _bury(self, child: Child) -> None:
        """Note the end of a child whose parent is gone: how it ended, nobody can tell."""
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
            try:
                socket.send_fds(self._socket, [str(run).encode()], [memory.fileno(), name.fileno()])
            except OSError:
                self._bury(child)
                raise ForkServerLost from None
        await child.started.wait()
        if not child.pid:
            raise ForkServerLost
        return child

    def close(self) -> None:
        """Hang up: the fork server ends when its last child has."""
        if self._socket:
            self._socket.close()
            self._socket = None
