"""A webhook endpoint that writes down what it is sent and answers what it is told to."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self

import stripe

Body = dict[str, Any]


class ShopWindow:
    """Listens on loopback while it is entered."""

    def __init__(self, status: int = 200) -> None:
        """Answer STATUS until told otherwise."""
        self.status = status
        self.got: list[tuple[bytes, str]] = []
        window = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name is the standard library's
                body = self.rfile.read(int(self.headers["content-length"]))
                window.got.append((body, self.headers["stripe-signature"]))
                self.send_response(window.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}/stripe"

    def __enter__(self) -> Self:
        """Listen."""
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def events(self, secret: str) -> list[stripe.Event]:
        """Give what arrived, its signature verified by the SDK."""
        return [stripe.Webhook.construct_event(body, signature, secret) for body, signature in self.got]
