"""Rows that point to a row that is not there."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from blocks.live_catalog import Catalog, ForeignKey, Table
from blocks.rules import Orphan
from tasks.consistency.checks import Assign, Change, Check, Fence, Quarantine
from tasks.consistency.fitting import (
    column_misfits,
    foreign_key_misfits,
    index_note,
    only_misfits,
    pair_misfits,
    table_misfits,
    write_notes,
    written_misfits,
)
from tasks.consistency.likeness import equality_misfits
from tasks.consistency.phrases import AND, all_of, column, fence_name, known, only, rows, same, shown

PARTITIONED_NOT_VALID = 180000  #: from this version on a foreign key of a partitioned table may be NOT VALID


def misfits(rule: Orphan, catalog: Catalog) -> Iterator[str]:
    """Say what does not fit."""
    writes = rule.repair != "report"
    yield from table_misfits(catalog, rule.table, to_write=writes or rule.fence)
    yield from table_misfits(catalog, rule.parent)
    child, parent = catalog.tables.get(rule.table), catalog.tables.get(rule.parent)
    if child:
        yield from column_misfits(child, rule.columns)
        yield from only_misfits(child, rule.only)
        if rule.repair == "null":
            yield from written_misfits(child, rule.columns, nulled=True)
    if parent:
        yield from column_misfits(parent, rule.parent_columns)
    if child and parent:
        yield from pair_misfits(child, rule.columns, parent, rule.parent_columns)
        yield from equality_misfits(child, rule.columns, "a key")
    if child and parent and rule.fence:
        yield from foreign_key_misfits(child, rule.columns, parent, rule.parent_columns)
        if rule.only:
            yield "A foreign key holds for every row, so a rule with `only` cannot have a fence."


def compiled(rule: Orphan, catalog: Catalog) -> Check:
    """Write the rule in SQL. A key with a NULL in it points nowhere (MATCH SIMPLE), so it is no orphan."""
    child, parent = catalog.tables[rule.table], catalog.tables[rule.parent]
    pointing = same(dict(zip(rule.columns, rule.parent_columns, strict=True)), "p")
    absent = sql.SQL("NOT EXISTS (SELECT FROM {} p WHERE {})").format(parent.identifier, pointing)
    wrong = AND.join([all_of(only(rule.only, child)), known(rule.columns), absent])
    fence = _fence(rule, child, parent, catalog.version) if rule.fence else None
    return Check(
        rule=rule,
        table=child,
        find=rows(child, shown(rule.columns), wrong),
        wrong=wrong,
        change=_change(rule),
        fence=fence,
        parent=parent.identifier,
        notes=tuple(_notes(rule, child, parent, catalog.version)),
    )


def _change(rule: Orphan) -> Change | None:
    if rule.repair == "quarantine":
        return Quarantine()
    if rule.repair == "null":
        return Assign({name: sql.SQL("NULL") for name in rule.columns})
    return None


def _notes(rule: Orphan, child: Table, parent: Table, version: int) -> Iterator[str]:
    if rule.repair != "report":
        yield from write_notes(child)
        yield from index_note(parent, rule.parent_columns)
    if rule.fence and _existing(rule, child, parent) is None and _too_old(child, version):
        yield f"{child.label} is partitioned: only PostgreSQL 18 adds a foreign key to it without blocking writers."


def _fence(rule: Orphan, child: Table, parent: Table, version: int) -> Fence | None:
    if key := _existing(rule, child, parent):
        return _validated(child, key.name, key.validated)
    if _too_old(child, version):
        return None
    name = fence_name(child, (*rule.columns, rule.parent))
    add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}) NOT VALID").format(
        child.identifier,
        sql.Identifier(name),
        sql.SQL(", ").join(map(sql.Identifier, rule.columns)),
        parent.identifier,
        sql.SQL(", ").join(map(sql.Identifier, rule.parent_columns)),
    )
    return Fence(
        kind="foreign key",
        name=name,
        before=add,
        after=_statement("ALTER TABLE {} VALIDATE CONSTRAINT {}", child, name),
        remove=_statement("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}", child, name),
    )


def _existing(rule: Orphan, child: Table, parent: Table) -> ForeignKey | None:
    wanted = set(zip(rule.columns, rule.parent_columns, strict=True))
    for key in child.outgoing:
        if key.parent == parent.quoted and set(zip(key.columns, key.parent_columns, strict=True)) == wanted:
            return key
    return None


def _too_old(child: Table, version: int) -> bool:
    return child.kind == "p" and version < PARTITIONED_NOT_VALID


def _validated(child: Table, name: str, validated: bool) -> Fence | None:
    # There is one already, of somebody else or of an earlier run: at most it has still to be proved.
    if validated:
        return None
    return Fence(
        kind="foreign key",
        name=name,
        before=None,
        after=_statement("ALTER TABLE {} VALIDATE CONSTRAINT {}", child, name),
        remove=_statement("ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}", child, name),
    )


def _statement(text: str, table: Table, name: str) -> sql.Composed:
    return sql.SQL(text).format(table.identifier, sql.Identifier(name))


def keyed(rule: Orphan, alias: str = "t") -> sql.Composed:
    """Name the columns that point."""
    return sql.SQL(", ").join(column(name, alias) for name in rule.columns)
