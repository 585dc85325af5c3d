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
    if found is None:
        return
    if not found.sequence:
        yield f"No sequence fills {table.label}.{rule.column}: name a serial or identity column."
    if found.category != "N":
        yield f"{table.label}.{rule.column} is {found.type}, and a sequence counts in numbers."
    if not found.sequence_readable:
        yield f"Salvor may not read a sequence: GRANT SELECT ON SEQUENCE {found.sequence} to its user."
    if rule.repair == "advance" and not found.sequence_writable:
        yield f"Salvor may not set a sequence: GRANT UPDATE ON SEQUENCE {found.sequence} to its user."


def compiled(rule: Sequence, catalog: Catalog) -> Check:
    """Write the rule in SQL: there is a value at, or past, the one that the sequence gives next.

    Two servers may share the values, each with every second one: a step of two is kept when it is advanced. A sequence
    that goes down, or that begins again at its end, is not looked at.
    """
    table = catalog.tables[rule.table]
    name = table.columns[rule.column].sequence or ""
    behind = sql.SQL(
        "FROM (SELECT max({column})::bigint AS largest FROM {table} t) AS m, {sequence} AS s, pg_sequence AS q"
        " WHERE q.seqrelid = {name}::regclass AND q.seqincrement > 0 AND NOT q.seqcycle"
        " AND largest >= s.last_value + CASE WHEN s.is_called THEN q.seqincrement ELSE 0 END"
    ).format(column=column(rule.column), table=table.identifier, sequence=sql.SQL(name), name=sql.Literal(name))
    said = sql.SQL("SELECT 'it is at ' || s.last_value || ', and the largest ' || {} || ' is ' || largest ").format(
        sql.Literal(rule.column)
    )
    past = sql.SQL("SELECT setval({}, largest - (largest - s.last_value) % q.seqincrement) ").format(sql.Literal(name))
    return Check(
        rule=rule,
        table=table,
        find=said + behind,
        change=Advance(past + behind) if rule.repair == "advance" else None,
        notes=("It only goes up, and is not set back by an undo.",) if rule.repair == "advance" else (),
    )
