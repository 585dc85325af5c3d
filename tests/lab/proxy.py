"""The network of the lab: one front per node that everybody connects to, and that can be cut for some of them.

A front tells its callers apart by what libpq says first (user, application name), so a node has one address for
everyone, as in life, and "cut from salvor" leaves the standbys and the clients connected.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Literal, cast

from tests.lab.ports import listens

Mode = Literal["silent", "refuse"]

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
#: Class of a caller by the database user it names; everybody else is a client.
CLASSES = {"salvor": "salvor", "replicator": "standbys"}


class Side(asyncio.Protocol):
    """One end of a forwarded connection; what arrives is written to the other end."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: Side | None = None
        self.held = False
        self.choked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.peer and self.peer.transport:
            self.peer.transport.write(data)

    def pause_writing(self) -> None:
        if self.peer:
            self.peer.choke(choked=True)

    def resume_writing(self) -> None:
        if self.peer:
            self.peer.choke(choked=False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer and self.peer.transport:
            (self.peer.transport.abort if exc else self.peer.transport.close)()

    def hold(self, *, held: bool) -> None:
        """Stop reading (nothing is passed on, neither bytes nor the end of the connection), or go on."""
        self.held = held
        self._apply()

    def choke(self, *, choked: bool) -> None:
        self.choked = choked
        self._apply()

    def _apply(self) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        (self.transport.pause_reading if self.held or self.choked else self.transport.resume_reading)()


class Caller(Side):
    """The end that connected to the front: its first message says who it is."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self.front = front
        self.labels: set[str] | None = None
        self.opening = b""
        self.connecting = False

    def data_received(self, data: bytes) -> None:
        if self.labels is not None:
            super().data_received(data)
            return
        self.opening += data
        self._read_opening()

    def _read_opening(self) -> None:
        while len(self.opening) >= 8:
            length, code = struct.unpack("!II", self.opening[:8])
            if code in (SSL_REQUEST, GSS_REQUEST) and self.transport:
                self.opening = self.opening[8:]
                self.transport.write(b"N")
            elif len(self.opening) >= length:
                self.labels = {"clients"} if code == CANCEL_REQUEST else labels(self.opening[8:length])
                self.hold(held=True)
                self.front.admit(self)
                return
            else:
                return

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.front.callers.discard(self)


def labels(parameters: bytes) -> set[str]:
    """Name a caller by its startup parameters: its class, and a standby by its name too."""
    fields = parameters.split(b"\0")
    given = dict(zip(fields[::2], fields[1::2], strict=False))
    user = given.get(b"user", b"").decode(errors="replace")
    kind = CLASSES.get(user, "clients")
    standby = given.get(b"application_name", b"").decode(errors="replace")
    return {kind, standby} if kind == "standbys" and standby not in CLASSES.values() else {kind}


class Front:
    """The address of one node. It listens exactly when the node does, so a dead node refuses as in life."""

    def __init__(self, port: int, upstream: int) -> None:
        self.port, self.upstream = port, upstream
        self.cuts: dict[str, Mode] = {}
        self.callers: set[Caller] = set()
        self.open = False
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.socket.setblocking(False)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def wanted(self) -> bool:
        """Whether it should listen: when the node does. Who is cut off by silence is still swallowed."""
        if self.cuts.get("all") == "refuse":
            return False
        return listens(self.upstream) or "silent" in self.cuts.values()

    def follow(self) -> None:
        """Begin or stop listening, as it should."""
        if self.open == self.wanted:
            return
        loop = asyncio.get_running_loop()
        if not self.open:
            self.socket.listen(512)
            loop.add_reader(self.socket, self._accept)
        else:
            loop.remove_reader(self.socket)
            # Stops listening but keeps the port: nobody can take it while the node is down.
            self.socket.shutdown(socket.SHUT_RD)
        self.open = not self.open

    def _accept(self) -> None:
        try:
            connection, _ = self.socket.accept()
        except OSError:
            return
        caller = Caller(self)
        self.callers.add(caller)
        self._later(asyncio.get_running_loop().connect_accepted_socket(lambda: caller, connection))

    def admit(self, caller: Caller) -> None:
        """Connect a caller to the node, or leave it in the silence, or throw it out."""
        match self.mode(caller):
            case "refuse":
                self._abort(caller)
            case "silent":
                caller.hold(held=True)
            case _ if not caller.connecting:
                caller.connecting = True
                self._later(self._connect(caller))

    async def _connect(self, caller: Caller) -> None:
        server = Side()
        server.peer = caller
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, "127.0.0.1", self.upstream)
        except OSError:
            self._abort(caller)
            return
        caller.peer = server
        caller.opening, opening = b"", caller.opening
        server.transport.write(opening)  # type: ignore[union-attr]
        self._hold(caller, held=self.mode(caller) == "silent")
        if caller.transport is None or caller.transport.is_closing():
            server.transport.abort()  # type: ignore[union-attr]

    def mode(self, caller: Caller) -> Mode | None:
        """Tell what happens to a caller at the moment; "refuse" wins."""
        modes = {mode for name, mode in self.cuts.items() if name == "all" or name in (caller.labels or ())}
        return "refuse" if "refuse" in modes else "silent" if modes else None

    def cut(self, name: str, mode: Mode) -> None:
        """Cut the callers called NAME (a class, an application name, or "all")."""
        self.cuts[name] = mode
        self._settle()

    def mend(self, name: str | None = None) -> None:
        """End one cut or all; connections that were silent go on where they were."""
        self.cuts = {k: v for k, v in self.cuts.items() if name is not None and k != name}
        self._settle()

    def _settle(self) -> None:
        for caller in list(self.callers):
            mode = self.mode(caller)
            if mode == "refuse":
                self._abort(caller)
            elif caller.peer is not None:
                self._hold(caller, held=mode == "silent")
            elif mode is None and caller.labels is not None:
                self.admit(caller)

    @staticmethod
    def _hold(caller: Caller, *, held: bool) -> None:
        caller.hold(held=held)
        if caller.peer:
            caller.peer.hold(held=held)

    @staticmethod
    def _abort(caller: Caller) -> None:
        for side in (caller, caller.peer):
            if side and side.transport and not side.transport.is_closing():
                raw = side.transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                side.transport.abort()

    def _later(self, work: object) -> None:
        task = asyncio.ensure_future(cast("asyncio.Future[None]", work))
        self._tasks.add(task)  # type: ignore[arg-type]
        task.add_done_callback(self._tasks.discard)  # type: ignore[arg-type]
