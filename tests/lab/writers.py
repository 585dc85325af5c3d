"""The small SaaS: a process whose threads place orders, and write down each one the database acknowledged."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

# One statement, so that the order and its one charge stand or fall together. A repeated attempt does not
# charge again, but it does write: a commit that wrote nothing would be acknowledged without waiting for a
# standby, even when the first attempt's row had not reached one yet.
PLACE = """
WITH placed AS (
    INSERT INTO orders AS o (client, seq, attempt) VALUES (%(client)s, %(seq)s, %(attempt)s)
    ON CONFLICT (client, seq) DO UPDATE SET attempt = excluded.attempt
    RETURNING client, seq, xmax = 0 AS fresh
)
INSERT INTO charges (client, seq, cents) SELECT client, seq, 100 FROM placed WHERE fresh OR %(careless)s
"""
PAUSE_SECONDS = 0.02
WATCH_SECONDS = 0.05


@dataclass
class Spec:
    """How the application behaves."""

    conninfo: str
    log: str
    client: str
    writers: int = 4
    rate: float = 50  #: orders a second and writer, when all is well
    patience_seconds: float = 5  #: after that long without an answer the connection is dropped and the order retried
    careless: bool = False  #: charge again at every attempt: for the test that a double charge is counted

    @classmethod
    def load(cls, path: Path) -> Spec:
        return cls(**json.loads(path.read_text()))


class Clock:
    """Wall time that never jumps while the application runs."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return time.monotonic() + self._offset


@dataclass
class Writer:
    """One thread of the application, with at most one connection and one order in flight."""

    number: int
    app: Application
    connection: psycopg.Connection[tuple[object, ...]] | None = None
    busy_since: float | None = None
    seq: int = 0

    @property
    def client(self) -> str:
        return f"{self.app.spec.client}-{self.number}"

    def run(self) -> None:
        """Place orders at the wanted rate until told to stop; an order is retried until it is acknowledged."""
        step = 1 / self.app.spec.rate
        due = time.monotonic() + step * self.number / self.app.spec.writers
        while not self.app.stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + step, time.monotonic())
            self.seq += 1
            self._place_until_acknowledged()
        self._drop()

    def _place_until_acknowledged(self) -> None:
        attempt = 0
        began = self.app.clock.now()
        while not self.app.stop.is_set():
            attempt += 1
            try:
                self._place(attempt)
            except psycopg.Error as error:
                self.app.write("E", self.number, self.seq, error.sqlstate or "-", " ".join(str(error).split()))
                self._drop()
                self.app.stop.wait(PAUSE_SECONDS)
            else:
                self.app.write("A", self.number, self.seq, f"{self.app.clock.now() - began:.6f}", attempt)
                return

    def _place(self, attempt: int) -> None:
        self.busy_since = time.monotonic()
        try:
            if self.connection is None:
                # A pooler in transaction mode does not keep prepared statements.
                self.connection = psycopg.connect(self.app.spec.conninfo, autocommit=True, prepare_threshold=None)
            careless = self.app.spec.careless
            self.connection.execute(
                PLACE, {"client": self.client, "seq": self.seq, "attempt": attempt, "careless": careless}
            )
        finally:
            self.busy_since = None

    def _drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def hang_up_if_stuck(self) -> None:
        """End a connection that has not answered for too long, as an application's request timeout does."""
        since, connection = self.busy_since, self.connection
        if since is None or connection is None or time.monotonic() - since < self.app.spec.patience_seconds:
            return
        # The thread may close its connection at this very moment.
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


class Application:
    """The process: its threads, its clock and its log."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.clock = Clock()
        self.stop = threading.Event()
        self.log = os.open(spec.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, kind: str, *fields: object) -> None:
        """Write down one line with its wall time; a single write, so that a SIGKILL tears none."""
        line = "\t".join([kind, f"{self.clock.now():.6f}", *map(str, fields)])
        os.write(self.log, line.encode() + b"\n")

    def run(self) -> None:
        """Work until SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        writers = [Writer(number, self) for number in range(self.spec.writers)]
        threads = [threading.Thread(target=writer.run, daemon=True) for writer in writers]
        self.write("B")
        for thread in threads:
            thread.start()
        while not self.stop.wait(WATCH_SECONDS):
            for writer in writers:
                writer.hang_up_if_stuck()
        deadline = time.monotonic() + 1
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.write("S")
        os._exit(0)


if __name__ == "__main__":
    Application(Spec.load(Path(sys.argv[1]))).run()
