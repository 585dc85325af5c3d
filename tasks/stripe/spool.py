"""Stripe's side of a comparison, kept in one file on this machine: what was listed, and how far each list was read.

It outlives the run that fills it, so that one that is killed half-way is gone on with; and a dry run writes nothing to
the application's database. A page and the cursor behind it are kept in one transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from blocks.errors import StandDown
from tasks.stripe.copy_format import NULL
from tasks.stripe.drift import Difference
from tasks.stripe.kinds import LIVE, TABLES
from tasks.stripe.windows import Window, Windows

FORMAT = 2  #: of the tables below and of what is in them: a file of another one is not gone on with
_TABLES = """
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT, id TEXT, key TEXT, line TEXT, observed REAL, gone INTEGER DEFAULT 0, PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS windows (place TEXT, number INTEGER, window TEXT, PRIMARY KEY (place, number));
CREATE TABLE IF NOT EXISTS differences (
    place TEXT, id TEXT, operation TEXT, new TEXT, old TEXT, observed REAL, old_observed TEXT, hint TEXT,
    PRIMARY KEY (place, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT);
"""
_PUT = "INSERT OR REPLACE INTO objects (kind, id, key, line, observed, gone) VALUES (?, ?, ?, ?, ?, ?)"
#: All rows by one statement: SQLite gives the interpreter's lock away for each, and the other threads keep it a while.
_PUT_ALL = """
INSERT OR REPLACE INTO objects (kind, id, key, line, observed, gone)
SELECT ?, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), 0 FROM json_each(?)
"""
_ROWS = "SELECT id, line, observed, key FROM objects WHERE kind = ? AND gone = 0 ORDER BY id"
#: What a payment is joined of was asked for at several times: the row is as of the first.
_PAYMENTS = f"""
SELECT p.id, p.line || char(9) || coalesce(i.invoice, '{NULL}') || char(9) || coalesce(c.refunded, 0),
       min(p.observed, coalesce(i.observed, p.observed), coalesce(c.observed, p.observed)), ''
FROM objects p
LEFT JOIN (SELECT key, max(line) AS invoice, min(observed) AS observed FROM objects
           WHERE kind = 'invoice_payments' AND gone = 0 AND key != '' GROUP BY key) i ON i.key = p.id
LEFT JOIN (SELECT key, sum(line) AS refunded, min(observed) AS observed FROM objects
           WHERE kind = 'charges' AND gone = 0 AND key != '' GROUP BY key) c ON c.key = p.id
WHERE p.kind = 'payment_intents' AND p.gone = 0 ORDER BY p.id
"""  # noqa: S608 - a constant of ours
_SEVERAL = """
SELECT key, group_concat(id, ', '), count(*) OVER () FROM (SELECT key, id FROM objects
    WHERE kind = 'customers' AND gone = 0 AND key != '' ORDER BY key, id)
GROUP BY key HAVING count(*) > 1 ORDER BY key LIMIT ?
"""
Row = tuple[str, str, float, str]


class Spool:
    """One comparison's file; used by many threads."""

    def __init__(self, path: Path) -> None:
        """Open the file, or begin it."""
        self.path = path
        self._lock = Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # A process that dies loses nothing; after a power cut the comparison begins anew.
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-8000;" + _TABLES)

    @classmethod
    def of(cls, path: Path) -> Spool:
        """Open a comparison that was finished; an empty one in its place would prove anything."""
        if path.exists():
            spool = cls(path)
            if spool.noted("complete"):
                return spool
            spool.close()
        raise StandDown(f"What was listed of Stripe is not on this machine any more ({path}): run it again.")

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

    def put(
        self, kind: str, rows: Iterable[tuple[str, str, str, float]], place: str = "", windows: Iterable[Window] = ()
    ) -> None:
        """Keep objects (id, key, line, observed) and how far the list PLACE was read, both or neither."""
        with self._whole() as db:
            db.execute(_PUT_ALL, [kind, json.dumps(list(rows))])
            kept = [(place, w.number, json.dumps(vars(w))) for w in windows]
            db.executemany("INSERT OR REPLACE INTO windows VALUES (?, ?, ?)", kept)

    @contextmanager
    def _whole(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def gone(self, kind: str, object_id: str, observed: float) -> None:
        """Keep that Stripe does not have an object."""
        with self._lock:
            self._db.execute(_PUT, [kind, object_id, "", "", observed, 1])

    def windows(self, place: str) -> Windows | None:
        """Give how far a list was read; None when it was not begun."""
        with self._lock:
            found = self._db.execute("SELECT window FROM windows WHERE place = ? ORDER BY number", [place]).fetchall()
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
        with self._whole() as db:
            rows = [(table, *each) for each in found]
            db.executemany("INSERT OR REPLACE INTO differences VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

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

    def live_among(self, customers: Collection[str]) -> set[str]:
        """Name those of CUSTOMERS who have a subscription that still gives them something."""
        with self._lock:
            lines = self._db.execute("SELECT line FROM objects WHERE kind = 'subscriptions' AND gone = 0")
            pairs = (row[0].split("\t", 2)[:2] for row in lines)
            return {customer for customer, status in pairs if status in LIVE and customer in customers}

    def several(self, limit: int) -> tuple[list[tuple[str, str]], int]:
        """List users who, by Stripe's metadata, are several customers: (user, customers), and how many there are."""
        with self._lock:
            found = self._db.execute(_SEVERAL, [limit]).fetchall()
        return [(row[0], row[1]) for row in found], found[0][2] if found else 0

    def confirmed_gone(self, kind: str) -> dict[str, float]:
        """Name the objects that Stripe, asked for each, did not have, with when it was asked."""
        with self._lock:
            query = "SELECT id, observed FROM objects WHERE kind = ? AND gone = 1"
            return dict(self._db.execute(query, [kind]).fetchall())
