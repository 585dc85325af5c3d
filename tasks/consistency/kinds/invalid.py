"""Rows that hold what cannot be, or lack what must be."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from blocks.live_catalog import Catalog
from blocks.rules import Invalid, Missing
from tasks.consistency.checks import Assign, Change, Check, Quarantine
from tasks.consistency.fitting import column_misfits, only_misfits, table_misfits, write_notes, written_misfits
from tasks.consistency.likeness import value_misfits
from tasks.consistency.phrases import all_of, any_of, empty, holds, literal, only, rows, shown


def misfits(rule: Invalid | Missing, catalog: Catalog) -> Iterator[str]:
    """Say what does not fit."""
    yield from table_misfits(catalog, rule.table, to_write=rule.repair != "report")
    table = catalog.tables.get(rule.table)
    if table is None:
        return
    yield from only_misfits(table, rule.only)
    if isinstance(rule, Missing):
        yield from column_misfits(table, rule.columns)
        return
    yield from only_misfits(table, rule.when)
    yield from column_misfits(table, rule.values)
    yield from written_misfits(table, rule.values)
    yield from (fault for name, value in rule.values.items() for fault in value_misfits(table, name, value))
    yield from written_misfits(table, [name for name, value in rule.values.items() if value is None], nulled=True)


def compiled(rule: Invalid | Missing, catalog: Catalog) -> Check:
    """Write the rule in SQL."""
    table = catalog.tables[rule.table]
    limited = only(rule.only, table)
    if isinstance(rule, Missing):
        wrong, evident = any_of(empty(name, table) for name in rule.columns), rule.columns
    else:
        wrong, evident = all_of(holds(each, table) for each in rule.when), _evident(rule)
    wrong = all_of([*limited, wrong])
    notes = tuple(write_notes(table)) if rule.repair != "report" else ()
    return Check(
        rule=rule, table=table, find=rows(table, shown(evident), wrong), wrong=wrong, change=_change(rule), notes=notes
    )


def _evident(rule: Invalid) -> tuple[str, ...]:
    return tuple(dict.fromkeys([each.column for each in rule.when] + list(rule.values)))


def _change(rule: Invalid | Missing) -> Change | None:
    if rule.repair == "quarantine":
        return Quarantine()
    if isinstance(rule, Invalid) and rule.repair == "set":
        values: dict[str, sql.Composable] = {name: literal(value) for name, value in rule.values.items()}
        return Assign(values)
    return None
