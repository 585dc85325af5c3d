"""A port that is open and answers what it is told to, or nothing for ever."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager


@contextmanager
def listener(answer: bytes | None):
    """Accept connections and send ANSWER to whatever is said; None says nothing for ever."""
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        ear.listen()
        opened = []

        def serve():
            while True:
                try:
                    mouth, _ = ear.accept()
                except OSError:
                    return
                opened.append(mouth)
                if answer is not None:
                    mouth.recv(1000)
                    mouth.sendall(answer)
                    mouth.close()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"host=127.0.0.1 port={ear.getsockname()[1]} user=x dbname=x sslmode=disable gssencmode=disable"
        finally:
            ear.shutdown(socket.SHUT_RDWR)
            for mouth in opened:
                mouth.close()
