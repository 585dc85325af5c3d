"""Rows that become wrong by the repair itself: what points to a row that goes into the quarantine."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from blocks.app_database import Connection
from blocks.ledger.findings import Key
from blocks.live_catalog import Table
from blocks.rules import Orphan, Pointer
from tasks.consistency.checks import Check, Delete, Quarantine
from tasks.consistency.phrases import AND, COMMA, all_of, column, given_keys, key_text, known, only, same

Rows = list[tuple[Key, str]]
CHUNK = 5000


def followers(connection: Connection, checks: list[Check], found: dict[str, Rows], most: int) -> dict[str, Rows]:
    """Give for each orphan rule the rows that will become orphans, in the order in which they do.

    FOUND are the rows that are wrong now. Beyond MOST rows of a rule nothing more is looked for: it is refused anyway.
    """
    known_keys = {rule: {key for key, _ in rows} for rule, rows in found.items()}
    result: dict[str, Rows] = {}
    leaving = [(check, [key for key, _ in found.get(check.rule.name, [])]) for check in checks if _removes(check)]
    while leaving:
        check, keys = leaving.pop(0)
        for orphans in checks:
            if not keys or not _points(orphans, check):
                continue
            mine = known_keys.setdefault(orphans.rule.name, set())
            new = [row for row in _pointing(connection, orphans, check.table, keys) if row[0] not in mine]
            mine.update(key for key, _ in new)
            result.setdefault(orphans.rule.name, []).extend(new)
            if _removes(orphans) and new and len(mine) <= most:
                leaving.append((orphans, [key for key, _ in new]))
    return result


def _removes(check: Check) -> bool:
    return isinstance(check.change, Quarantine | Delete)


def _points(orphans: Check, check: Check) -> bool:
    """Whether rows of ORPHANS become wrong when rows of CHECK go."""
    rule, parent = orphans.rule, check.table
    if not isinstance(rule, Orphan) or parent is None or orphans.table is None or orphans.parent != parent.identifier:
        return False
    # What is led to the row that stays does not follow; and what a foreign key points to does not go.
    led = any(each.columns == rule.columns and _is(each.table, orphans.table) for each in _repointed(check))
    kept = any(key.columns == rule.columns and key.parent == parent.quoted for key in orphans.table.outgoing)
    return not led and not kept


def _repointed(check: Check) -> tuple[Pointer, ...]:
    return check.change.repoint if isinstance(check.change, Quarantine) else ()


def _is(name: str, table: Table) -> bool:
    return name in (table.name, f"{table.schema}.{table.name}")


def _pointing(connection: Connection, orphans: Check, parent: Table | None, keys: list[Key]) -> Rows:
    rule, child = orphans.rule, orphans.table
    assert isinstance(rule, Orphan)  # noqa: S101 - who calls this has looked
    assert child is not None  # noqa: S101 - an orphan has a table
    assert parent is not None  # noqa: S101 - and a parent
    pointing = same(dict(zip(rule.columns, rule.parent_columns, strict=True)), "p")
    rows: Rows = []
    for chunk in _chunks(keys):
        joined = all_of(sql.SQL("{} = {}").format(column(name, "p"), column(name, "k")) for name in parent.primary_key)
        query = sql.SQL(
            "SELECT {}, 'points to a row that goes' FROM {} t JOIN {} p ON {} JOIN {} ON {} WHERE {}"
        ).format(
            COMMA.join(key_text(child)), child.identifier, parent.identifier, pointing, given_keys(parent, chunk),
            joined, AND.join([all_of(only(rule.only, child)), known(rule.columns)]),
        )  # fmt: skip
        rows += [(tuple(row[:-1]), row[-1]) for row in connection.execute(query).fetchall()]
    return rows


def _chunks(keys: list[Key]) -> Iterable[list[Key]]:
    return (keys[first : first + CHUNK] for first in range(0, len(keys), CHUNK))
