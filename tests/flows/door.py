"""A door in front of a server, which can be shut: connections break and new ones are refused."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread


class Door:
    """Forwards one loopback port to another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._serve()

    def _serve(self) -> None:
        Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                inner = listener.accept()[0]
                outer = socket.create_connection(("127.0.0.1", self._port))
                self._open += [inner, outer]
                for one, other in [(inner, outer), (outer, inner)]:
                    Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def shut(self) -> None:
        """Break what goes through, refuse what comes."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def reopen(self) -> None:
        """Let everybody through again, at the same address."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._serve()
