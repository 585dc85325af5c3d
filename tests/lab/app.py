"""The small SaaS application, seen from outside: start it, watch it, and ask what it lost."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from secrets import token_hex
from typing import TYPE_CHECKING, Self

import psycopg

from tests.lab import processes, schema
from tests.lab.tally import Journal, Tally, tally

if TYPE_CHECKING:
    from tests.lab.cluster import Lab


class App:
    """An application process of its own. `with App(lab) as app:` starts it and stops it."""

    def __init__(  # noqa: PLR0913 - each is one switch of the application
        self,
        lab: Lab,
        *,
        writers: int = 4,
        rate: float = 50,
        pinned: str = "",
        patience_seconds: float = 5,
        careless: bool = False,
    ) -> None:
        """Describe an application of WRITERS threads that each want to place RATE orders a second.

        PINNED: it knows only the node of that name, as a client that missed the news does.
        """
        self.lab = lab
        self.client = token_hex(4)
        node = lab.nodes[pinned] if pinned else None
        conninfo = schema.client_conninfo("orders", host=node.host, port=node.port) if node else lab.dsn()
        self.log = lab.root / f"app-{self.client}.log"
        self._spec = {
            "conninfo": conninfo,
            "log": str(self.log),
            "client": self.client,
            "writers": writers,
            "rate": rate,
            "patience_seconds": patience_seconds,
            "careless": careless,
        }
        self.pid: int | None = None
        self._journal = Journal(self.client)
        self._read_bytes = 0

    # --- life

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def start(self) -> Self:
        """Start the process."""
        spec = self.lab.root / f"app-{self.client}.json"
        spec.write_text(json.dumps(self._spec))
        self.log.touch()
        argv = [sys.executable, "-m", "tests.lab.writers", str(spec)]
        self.pid = self.lab.world.spawn(argv, self.lab.root, self.lab.root / "app.out", drop=False)
        return self

    def stop(self) -> None:
        """Let it finish the orders in flight, for a second at most, and end it."""
        if self.pid is None or not self.lab.root.exists():
            return
        pid, self.pid = self.pid, None
        processes.send([pid], signal.SIGTERM)
        processes.wait_until(lambda: not processes.alive(pid), 5, "the application to stop")

    # --- looking

    def journal(self) -> Journal:
        """Return everything it has written down by now."""
        with self.log.open("rb") as log:
            log.seek(self._read_bytes)
            text, _, _ = log.read().rpartition(b"\n")
        if text:
            self._read_bytes += len(text) + 1
            self._journal.read(text.decode().split("\n"))
        return self._journal

    @staticmethod
    def now() -> float:
        """Return the wall-clock time, in which the journal is written."""
        return time.time()

    def acknowledged_after(self, moment: float) -> int:
        """Count the orders acknowledged after a wall-clock MOMENT."""
        return sum(1 for ack in self.journal().acks if ack[0] > moment)

    def await_writes(self, count: int = 20, seconds: float = 20, *, after: float | None = None) -> None:
        """Wait until COUNT more orders are acknowledged (AFTER: from that wall-clock moment on, else from now)."""
        moment = time.time() if after is None else after
        processes.wait_until(
            lambda: self.acknowledged_after(moment) >= count, seconds, f"{count} acknowledged orders", 0.02
        )

    def summary(self, name: str = "") -> Tally:
        """Compare what was acknowledged with what the survivor (or the node NAME) holds."""
        # The journal first: what is acknowledged while the rows are read is not missing from them.
        journal, until = self.journal(), time.time()
        node = self.lab.nodes[name or self.lab.survivor()]
        with psycopg.connect(node.conninfo("orders")) as session:
            own = [f"{self.client}-%"]
            orders = session.execute("SELECT client, seq FROM orders WHERE client LIKE %s", own).fetchall()
            charges = session.execute(
                "SELECT client, seq, count(*) FROM charges WHERE client LIKE %s GROUP BY 1, 2", own
            )
            counted = Counter({(client, seq): number for client, seq, number in charges})
        return tally(journal, {(row[0], row[1]) for row in orders}, counted, journal.stopped or until)
