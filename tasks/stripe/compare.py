"""Hold Stripe's side, as it was listed, against the application's rows, and keep every difference in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TextIO

from blocks.app_database import Connection
from blocks.app_rows import SyncedRows
from tasks.stripe.copy_format import NULL
from tasks.stripe.drift import Difference, Ours, Theirs, changed_fields, differences, told_at
from tasks.stripe.kinds import TABLES, fields_of
from tasks.stripe.looks import Looks, ids_of
from tasks.stripe.spool import Spool
from tasks.stripe.state import TableDrift

#: Beyond it rows are not asked for one by one: so many absent ones are rather the wrong key, and the guard says so.
ASKED_ONE_BY_ONE = 1000
SHOWN = 50


@dataclass
class Comparison:
    """What was found of one table, so far."""

    rows: SyncedRows
    spool: Spool
    since: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)  #: rows that were not listed and not yet asked for, as many as are
    newer: list[str] = field(default_factory=list)  #: rows that differ, and of which somebody knows better than we do

    def theirs(self) -> Iterator[Theirs]:
        """Give Stripe's side, as far as the application has columns for it."""
        every = fields_of(self.rows.name)
        self.counts["stripe"] = 0
        if every == self.rows.fields:
            for row in self.spool.rows(self.rows.name):
                self.counts["stripe"] += 1
                yield Theirs(*row)
            return
        places = [every.index(name) for name in self.rows.fields]
        for key, line, observed, hint in self.spool.rows(self.rows.name):
            self.counts["stripe"] += 1
            values = line.split("\t")
            yield Theirs(key, "\t".join(values[place] for place in places), observed, hint)

    def ours(self, connection: Connection) -> Iterator[Ours]:
        """Give our side."""
        self.counts["ours"] = 0
        for row in self.rows.lines(connection, self.since):
            self.counts["ours"] += row[4] and not row[2]
            yield Ours(*row)

    def differences(self, connection: Connection) -> Iterator[Difference]:
        """Give every row that differs; one that was not listed only when Stripe, asked for it, does not have it."""
        gone = self.spool.confirmed_gone(TABLES[self.rows.name][0].name)
        self.counts.clear()
        self.absent.clear()
        self.newer.clear()
        for each in differences(self.theirs(), self.ours(connection)):
            if each.operation == "tombstone" and each.id not in gone:
                self._note(self.absent, each)
                self.counts["unconfirmed"] = self.counts.get("unconfirmed", 0) + 1
                continue
            found = each._replace(observed=gone[each.id]) if each.operation == "tombstone" else each
            if told_at(found.old_observed or NULL) > found.observed:
                self._note(self.newer, found)
            self.counts[found.operation] = self.counts.get(found.operation, 0) + 1
            yield found

    @staticmethod
    def _note(ids: list[str], difference: Difference) -> None:
        if len(ids) <= ASKED_ONE_BY_ONE:
            ids.append(difference.id)

    def drift(self) -> TableDrift:
        """Sum up."""
        return TableDrift(table=self.rows.name, **self.counts)


def ask_again(comparisons: list[Comparison], looks: Looks) -> bool:
    """Ask for every row that was not listed, or that is of a later look than ours, unless too many; say whether any."""
    asked = False
    for comparison in comparisons:
        kind = TABLES[comparison.rows.name][0]
        for ids in (comparison.absent, comparison.newer):
            if ids and len(ids) <= ASKED_ONE_BY_ONE:
                looks.find(ids_of(kind, ids))
                asked = True
    return asked


@dataclass
class Listing:
    """The file with every difference, the part of it that is shown, and the digest of it all."""

    path: Path
    shown: list[dict[str, str]] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    digest: str = ""

    def write(self, connection: Connection, comparisons: list[Comparison]) -> list[TableDrift]:
        """Compare, keep what differs for the acts, and write it for people."""
        digest, found = sha256(), []
        self.shown.clear()
        self.lines.clear()
        with open(self.path, "w", opener=_private) as file:
            for comparison in comparisons:
                comparison.spool.forget(comparison.rows.name)
                each = comparison.differences(connection)
                while batch := list(islice(each, 1000)):
                    comparison.spool.keep(comparison.rows.name, batch)
                    for difference in batch:
                        digest.update(repr((comparison.rows.name, *difference[:4])).encode())
                        self._line(file, comparison, difference)
                found.append(comparison.drift())
        self.digest = digest.hexdigest()[:16]
        return found

    def _line(self, file: TextIO, comparison: Comparison, difference: Difference) -> None:
        fields = changed_fields(comparison.rows.fields, difference)
        entry = {"table": comparison.rows.name, "id": difference.id, "operation": difference.operation}
        file.write(json.dumps(entry | {"fields": fields}, ensure_ascii=False) + "\n")
        self.lines[comparison.rows.name] = number = self.lines.get(comparison.rows.name, 0) + 1
        if number <= SHOWN:
            self.shown.append(
                {"table": comparison.rows.name, "id": difference.id, "difference": _said(difference, fields)}
            )


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _said(difference: Difference, fields: dict[str, tuple[str | None, str | None]]) -> str:
    """Say in one cell what differs: the UI shows no more than three columns without scrolling."""
    if difference.operation == "insert":
        return "is missing here"
    if difference.operation == "tombstone":
        return "is here, and Stripe does not have it"
    return "; ".join(f"{name}: {_cell(old)} → {_cell(new)}" for name, (old, new) in fields.items())


def _cell(value: str | None) -> str:
    return "(nothing)" if value is None else value[:80]


def staged(found: Iterator[Difference]) -> Iterator[tuple[str, ...]]:
    """Give rows as the staging takes them."""
    for each in found:
        old = each.old or "\t".join([NULL] * (each.new.count("\t") + 1))
        asked = datetime.fromtimestamp(each.observed, UTC).isoformat()
        yield each.id, each.operation, asked, each.hint, each.new, old, each.old_observed or NULL
