"""The receiver on a real port, a ledger in a file, and a stand-in for Prefect that records what it is sent."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from blocks.intake import Intake
from blocks.ledger.block import Ledger
from blocks.prefect_api import PrefectApi
from flows.triggers.receiver.application import build

KNOWN = ("postgres-failover", "postgres-rejoin")
TOKEN = "alerts-token-for-tests"
OPERATOR = "operator-token-for-tests"
SCRAPER = "scraper-token-for-tests"
SECRETS = {
    "pagerduty": "pagerduty-secret-of-tests",
    "grafana": "grafana-secret-of-tests",
    "generic": "generic-secret-of-tests",
}


class Quiet(ThreadingHTTPServer):
    """A server that says nothing of a caller who hangs up."""

    def handle_error(self, *_: object) -> None:
        return


class Recorder:
    """A small HTTP server that takes what Prefect's would; `answer` makes it fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, str, Any, str]] = []
        self.answer: dict[str, tuple[int, Any]] = {}
        recorder = self

        class Asked(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                recorder.calls.append((time.monotonic(), self.path, body, self.headers.get("authorization", "")))
                status, content = recorder.answer.get(self.path, (200, []))
                self.reply(status, json.dumps(content).encode())

            def do_GET(self) -> None:
                self.reply(200, b"true")

            def reply(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                return

        self.server = Quiet(("127.0.0.1", 0), Asked)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/api"

    def posted(self, path: str) -> list[Any]:
        return [body for _, where, body, _ in list(self.calls) if where == f"/api/{path}"]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for body in self.posted("events") for event in body]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Served:
    """An application on a free port of this machine, in a thread."""

    def __init__(self, app: Starlette) -> None:
        # With the protocol named, or asyncio leaves Nagle's algorithm on and every answer takes 40 ms.
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self.socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]}, daemon=True)
        self.thread.start()
        eventually(lambda: self.server.started)

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(timeout=10)


def eventually(true: Any, seconds: float = 10.0) -> Any:
    """Wait until TRUE() is, and return it."""
    until = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < until, "It did not come true in time."
        time.sleep(0.005)
    return value


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with its tables and nothing in them."""
    path = tmp_path_factory.mktemp("ledger") / "blank.db"
    made = Ledger(url=f"sqlite:///{path}")
    made.upgrade()
    made.engine.dispose()
    return path


@pytest.fixture
def ledger(tmp_path: Path, blank: Path) -> Ledger:
    """A fresh ledger in a file."""
    shutil.copy(blank, tmp_path / "ledger.db")
    return Ledger(url=f"sqlite:///{tmp_path}/ledger.db")


@pytest.fixture
def prefect() -> Iterator[Recorder]:
    """What Prefect was sent."""
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture
def intake() -> Intake:
    """All the secrets, each another."""
    return Intake(
        bearer_token=TOKEN,
        operator_token=OPERATOR,
        metrics_token=SCRAPER,
        pagerduty_secrets=["an-old-secret-of-before", SECRETS["pagerduty"]],
        grafana_secrets=[SECRETS["grafana"]],
        generic_secrets=[SECRETS["generic"]],
    )


@pytest.fixture
def receiver(ledger: Ledger, intake: Intake, prefect: Recorder) -> Iterator[httpx.Client]:
    """A client of the real receiver, without any credentials."""
    served = Served(build(ledger, intake, PrefectApi(prefect.url), KNOWN))
    with httpx.Client(base_url=served.url) as client:
        yield client
    served.close()
