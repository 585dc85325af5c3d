"""Sequences that are behind the column they fill, so that the next new row would be refused."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from blocks.live_catalog import Catalog
from blocks.rules import Sequence
from tasks.consistency.checks import Advance, Check
from tasks.consistency.fitting import column_misfits, table_misfits
from tasks.consistency.phrases import column


def misfits(rule: Sequence, catalog: Catalog) -> Iterator[str]:
    """Say what does not fit."""
    yield from table_misfits(catalog, rule.table)
    table = catalog.tables.get(rule.table)
    if table is None:
        return
    yield from column_misfits(table, [rule.column])
    found = table.columns.get(rule.column)
    if found and not found.sequence:
        yield f"No sequence fills {table.label}.{rule.column}: name a serial or identity column."


def compiled(rule: Sequence, catalog: Catalog) -> Check:
    """Write the rule in SQL. A sequence that goes down is not looked at."""
    table = catalog.tables[rule.table]
    name = table.columns[rule.column].sequence or ""
    behind = sql.SQL(
        "FROM (SELECT max({column}) AS largest FROM {table} t) AS m, {sequence} AS s"
        " WHERE largest > s.last_value OR (largest = s.last_value AND NOT s.is_called)"
    ).format(column=column(rule.column), table=table.identifier, sequence=sql.SQL(name))
    said = sql.SQL("SELECT 'it is at ' || s.last_value || ', and the largest ' || {} || ' is ' || largest ").format(
        sql.Literal(rule.column)
    )
    advance = sql.SQL("SELECT setval({}, largest) ").format(sql.Literal(name)) + behind
    return Check(
        rule=rule,
        table=table,
        find=said + behind,
        change=Advance(advance) if rule.repair == "advance" else None,
        notes=("It only goes up, and is not set back by an undo.",) if rule.repair == "advance" else (),
    )
