"""Stripe's side of a comparison, kept in one file on this machine: what was listed, and how far each list was read.

It outlives the run that fills it, so that one that is killed half-way is gone on with; and a dry run writes nothing to
the application's database. A page and the cursor behind it are kept in one transaction.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from tasks.stripe.copy_format import NULL
from tasks.stripe.drift import Difference
from tasks.stripe.kinds import LIVE, TABLES
from tasks.stripe.windows import Window, Windows

KEEP_SECONDS = 3600  #: an older beginning is not gone on with
_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT, id TEXT, key TEXT, line TEXT, observed REAL, gone INTEGER DEFAULT 0, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS windows (kind TEXT, number INTEGER, window TEXT, PRIMARY KEY (kind, number));
CREATE TABLE IF NOT EXISTS differences (
    place TEXT, id TEXT, operation TEXT, new TEXT, old TEXT, observed REAL, old_observed TEXT, hint TEXT,
    PRIMARY KEY (place, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT);
"""
_PUT = "INSERT OR REPLACE INTO objects (kind, id, key, line, observed, gone) VALUES (?, ?, ?, ?, ?, ?)"
_ROWS = "SELECT id, line, observed, key FROM objects WHERE kind = ? AND gone = 0 ORDER BY id"
_PAYMENTS = f"""
SELECT p.id, p.line || char(9) || coalesce(i.invoice, '{NULL}') || char(9) || coalesce(c.refunded, 0), p.observed, ''
FROM objects p
LEFT JOIN (SELECT key, max(line) AS invoice FROM objects WHERE kind = 'invoice_payments' AND gone = 0 AND key != ''
           GROUP BY key) i ON i.key = p.id
LEFT JOIN (SELECT key, sum(line) AS refunded FROM objects WHERE kind = 'charges' AND gone = 0 AND key != ''
           GROUP BY key) c ON c.key = p.id
WHERE p.kind = 'payment_intents' AND p.gone = 0 ORDER BY p.id
"""  # noqa: S608 - a constant of ours
Row = tuple[str, str, float, str]


class Spool:
    """One comparison's file; used by many threads."""

    def __init__(self, path: Path) -> None:
        """Open the file, or begin it."""
        self.path = path
        self._lock = Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # A process that dies loses nothing; after a power cut the comparison begins anew.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-32000;" + _TABLES)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def note(self, name: str, value: Any) -> None:  # noqa: ANN401 - anything that JSON bears
        """Remember VALUE by NAME."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", [name, json.dumps(value)])

    def noted(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as above
        """Give what was remembered."""
        with self._lock:
            found = self._db.execute("SELECT value FROM notes WHERE name = ?", [name]).fetchone()
        return default if found is None else json.loads(found[0])

    def put(self, kind: str, rows: Iterable[tuple[str, str, str, float]], windows: Iterable[Window] = ()) -> None:
        """Keep objects (id, key, line, observed) and how far their list was read, both or neither."""
        with self._lock:
            self._db.execute("BEGIN")
            self._db.executemany(_PUT, [(kind, *row, 0) for row in rows])
            kept = [(kind, w.number, json.dumps(asdict(w))) for w in windows]
            self._db.executemany("INSERT OR REPLACE INTO windows VALUES (?, ?, ?)", kept)
            self._db.execute("COMMIT")

    def gone(self, kind: str, object_id: str, observed: float) -> None:
        """Keep that Stripe does not have an object."""
        with self._lock:
            self._db.execute(_PUT, [kind, object_id, "", "", observed, 1])

    def windows(self, kind: str) -> Windows | None:
        """Give how far a list was read; None when it was not begun."""
        with self._lock:
            found = self._db.execute("SELECT window FROM windows WHERE kind = ? ORDER BY number", [kind]).fetchall()
        return Windows([Window(**json.loads(row[0])) for row in found]) if found else None

    def rows(self, table: str) -> Iterator[Row]:
        """Give what the rows of TABLE should be, by id: (id, line, when it was asked for, what it was joined by)."""
        query, given = (_PAYMENTS, []) if table == "payments" else (_ROWS, [TABLES[table][0].name])
        reader = sqlite3.connect(self.path)
        try:
            yield from reader.execute(query, given)
        finally:
            reader.close()

    def keep(self, table: str, found: Iterable[Difference]) -> None:
        """Keep differences, for the acts."""
        with self._lock:
            self._db.execute("BEGIN")
            rows = [(table, *each) for each in found]
            self._db.executemany("INSERT OR REPLACE INTO differences VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")

    def forget(self, table: str) -> None:
        """Forget the differences of TABLE."""
        with self._lock:
            self._db.execute("DELETE FROM differences WHERE place = ?", [table])

    def kept(self, table: str, operations: Iterable[str]) -> Iterator[Difference]:
        """Give the differences of TABLE that are to be repaired by one of OPERATIONS."""
        reader, wanted = sqlite3.connect(self.path), set(operations)
        try:
            query = "SELECT id, operation, new, old, observed, old_observed, hint FROM differences WHERE place = ?"
            yield from (Difference(*row) for row in reader.execute(query, [table]) if row[1] in wanted)
        finally:
            reader.close()

    def known(self, kind: str, object_id: str) -> bool:
        """Whether Stripe has an object, as far as it was listed."""
        with self._lock:
            query = "SELECT 1 FROM objects WHERE kind = ? AND id = ? AND gone = 0"
            return self._db.execute(query, [kind, object_id]).fetchone() is not None

    def key(self, kind: str, object_id: str) -> str:
        """Give what an object is joined by: of a charge its payment."""
        with self._lock:
            query = "SELECT key FROM objects WHERE kind = ? AND id = ?"
            found = self._db.execute(query, [kind, object_id]).fetchone()
        return found[0] if found else ""

    def live_customers(self) -> set[str]:
        """Name the customers who have a subscription that still gives them something."""
        with self._lock:
            lines = self._db.execute("SELECT line FROM objects WHERE kind = 'subscriptions' AND gone = 0")
            pairs = (row[0].split("\t", 2)[:2] for row in lines)
            return {customer for customer, status in pairs if status in LIVE}

    def confirmed_gone(self, kind: str) -> set[str]:
        """Name the objects that Stripe, asked for each, did not have."""
        with self._lock:
            query = "SELECT id FROM objects WHERE kind = ? AND gone = 1"
            return {row[0] for row in self._db.execute(query, [kind])}

    def count(self) -> dict[str, int]:
        """Count what was kept of each list."""
        with self._lock:
            query = "SELECT kind, count(*) FROM objects WHERE gone = 0 GROUP BY kind"
            return dict(self._db.execute(query).fetchall())


class Shelf:
    """The folder of one target's spools: at most one is filled at a time, and old ones are thrown away."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, for nobody else's eyes: it holds e-mail addresses."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._held: int | None = None

    def take(self, asked: dict[str, Any]) -> Spool:
        """Go on with a comparison of what is ASKED that was begun and not ended, or begin one."""
        self._held = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        alone = self._alone(self._held)
        for path in sorted(self.folder.glob("*.spool"), reverse=True):
            if alone and (begun := _unfinished(path, asked)) is not None:
                return begun
        if alone:
            self._tidy()
        spool = Spool(self.folder / f"{time.time_ns()}-{os.getpid()}.spool")
        spool.note("asked", asked)
        return spool

    def release(self) -> None:
        """Let another run fill a spool."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    @staticmethod
    def _alone(held: int) -> bool:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another run fills one: this one has a spool of its own
            return False
        return True

    def _tidy(self) -> None:
        old = time.time() - KEEP_SECONDS
        for path in self.folder.glob("*.spool*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < old:
                    path.unlink()
        for path in sorted(self.folder.glob("differences-*.jsonl"))[:-20]:
            path.unlink(missing_ok=True)


def _unfinished(path: Path, asked: dict[str, Any]) -> Spool | None:
    if path.stat().st_mtime < time.time() - KEEP_SECONDS:
        return None
    spool = Spool(path)
    try:
        if spool.noted("asked") == asked and not spool.noted("complete"):
            return spool
    except (sqlite3.DatabaseError, json.JSONDecodeError):
        path.unlink(missing_ok=True)
    spool.close()
    return None
