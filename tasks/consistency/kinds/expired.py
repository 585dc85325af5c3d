"""Rows that are older than they may be."""

from __future__ import annotations

from collections.abc import Iterator

from blocks.live_catalog import Catalog
from blocks.rules import Expired
from tasks.consistency.checks import Change, Check, Delete, Quarantine
from tasks.consistency.fitting import column_misfits, only_misfits, table_misfits, write_notes
from tasks.consistency.likeness import moment_misfits
from tasks.consistency.phrases import ago, all_of, only, rows, shown

_CHANGES: dict[str, Change] = {"quarantine": Quarantine(), "delete": Delete()}


def misfits(rule: Expired, catalog: Catalog) -> Iterator[str]:
    """Say what does not fit."""
    yield from table_misfits(catalog, rule.table, to_write=rule.repair != "report")
    table = catalog.tables.get(rule.table)
    if table is None:
        return
    yield from column_misfits(table, [rule.column])
    yield from only_misfits(table, rule.only)
    yield from moment_misfits(table, rule.column, "`expired`")


def compiled(rule: Expired, catalog: Catalog) -> Check:
    """Write the rule in SQL."""
    table = catalog.tables[rule.table]
    wrong = all_of([*only(rule.only, table), ago(rule.column, rule.older_than_minutes)])
    notes = [] if rule.repair == "report" else list(write_notes(table))
    if rule.repair == "delete":
        notes.append("The rows are deleted without a copy: consistency-undo cannot give them back.")
    find = rows(table, shown([rule.column]), wrong)
    return Check(rule=rule, table=table, find=find, wrong=wrong, change=_CHANGES.get(rule.repair), notes=tuple(notes))
