"""Work that was begun and never ended."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from blocks.live_catalog import Catalog, Table
from blocks.rules import Stuck
from tasks.consistency.checks import Assign, Check
from tasks.consistency.fitting import column_misfits, only_misfits, table_misfits, write_notes, written_misfits
from tasks.consistency.likeness import moment_misfits, value_misfits
from tasks.consistency.phrases import COMMA, ago, all_of, column, only, rows, shown


def misfits(rule: Stuck, catalog: Catalog) -> Iterator[str]:
    """Say what does not fit."""
    yield from table_misfits(catalog, rule.table, to_write=rule.repair != "report")
    table = catalog.tables.get(rule.table)
    if table is None:
        return
    yield from only_misfits(table, rule.only)
    written = [name for name in (rule.column, rule.attempts, rule.reason_column) if name]
    yield from column_misfits(table, [*written, rule.since])
    yield from written_misfits(table, written)
    yield from moment_misfits(table, rule.since, "`since`")
    for status in (*rule.statuses, *((rule.reset_to, rule.given_up) if rule.repair == "reset" else ())):
        yield from value_misfits(table, rule.column, status)
    attempts = table.columns.get(rule.attempts or "")
    if attempts and attempts.category != "N":
        yield f"{table.label}.{attempts.name} is {attempts.type}, and `attempts` needs a number."
    if rule.max_attempts and not rule.attempts:
        yield "max_attempts needs the column `attempts`, which counts them."
    if rule.reset_to in rule.statuses or (rule.max_attempts and rule.given_up in rule.statuses):
        yield "A row would still be stuck after its repair: reset_to and given_up must not be among `statuses`."


def compiled(rule: Stuck, catalog: Catalog) -> Check:
    """Write the rule in SQL."""
    table = catalog.tables[rule.table]
    statuses = COMMA.join(map(sql.Literal, rule.statuses))
    begun = sql.SQL("{} IN ({})").format(column(rule.column), statuses)
    long_ago = sql.SQL("{} IS NULL OR {}").format(column(rule.since), ago(rule.since, rule.after_minutes))
    wrong = all_of([*only(rule.only, table), begun, long_ago])
    evident = [name for name in (rule.column, rule.since, rule.attempts) if name]
    return Check(
        rule=rule,
        table=table,
        find=rows(table, shown(evident), wrong),
        wrong=wrong,
        change=Assign(_values(rule, table)) if rule.repair == "reset" else None,
        notes=tuple(_notes(rule, table)),
    )


def _values(rule: Stuck, table: Table) -> dict[str, sql.Composable]:
    values: dict[str, sql.Composable] = {rule.column: sql.Literal(rule.reset_to)}
    if rule.attempts:
        made = sql.SQL("coalesce({}, 0) + 1").format(column(rule.attempts))
        values[rule.attempts] = made
        if rule.max_attempts:
            values[rule.column] = sql.SQL("(CASE WHEN {} >= {} THEN {} ELSE {} END)::{}").format(
                made,
                sql.Literal(rule.max_attempts),
                sql.Literal(rule.given_up),
                sql.Literal(rule.reset_to),
                sql.SQL(table.columns[rule.column].type),  # a CASE of texts is a text, which an enum does not take
            )
    if rule.reason_column:
        values[rule.reason_column] = sql.Literal(rule.reason.replace("{minutes}", f"{rule.after_minutes:g}"))
    return values


def _notes(rule: Stuck, table: Table) -> Iterator[str]:
    if rule.repair == "report":
        return
    yield "A worker that is only slow would do its work twice: after_minutes must be longer than any honest run."
    yield from write_notes(table)
