"""Columns that differ from those of another table, which is right."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from blocks.live_catalog import Catalog, Table
from blocks.rules import Mismatch
from tasks.consistency.checks import Assign, Check
from tasks.consistency.fitting import (
    column_misfits,
    index_note,
    only_misfits,
    pair_misfits,
    table_misfits,
    unique_misfits,
    write_notes,
    written_misfits,
)
from tasks.consistency.likeness import as_text_note, equality_misfits, loses, moment_misfits
from tasks.consistency.phrases import (
    AND,
    COMMA,
    ago,
    all_of,
    any_of,
    column,
    comparable,
    key_text,
    known,
    only,
    same,
    value_text,
)


def misfits(rule: Mismatch, catalog: Catalog) -> Iterator[str]:
    """Say what does not fit."""
    yield from table_misfits(catalog, rule.table, to_write=rule.repair != "report")
    yield from table_misfits(catalog, rule.source)
    here, there = catalog.tables.get(rule.table), catalog.tables.get(rule.source)
    if here:
        settled = [rule.settled_column] if rule.settled_column else []
        yield from column_misfits(here, [*rule.join, *rule.columns, *settled])
        yield from equality_misfits(here, rule.join, "joined by")
        yield from (fault for name in settled for fault in moment_misfits(here, name, "settled_column"))
        yield from only_misfits(here, rule.only)
        if rule.repair == "copy":
            yield from written_misfits(here, rule.columns)
    if there:
        yield from column_misfits(there, [*rule.join.values(), *rule.columns.values()])
        yield from unique_misfits(there, tuple(rule.join.values()))
    if here and there:
        for pairs in (rule.join, rule.columns):
            yield from pair_misfits(here, tuple(pairs), there, tuple(pairs.values()))
        if rule.repair == "copy":
            yield from _losses(rule, here, there)


def _losses(rule: Mismatch, here: Table, there: Table) -> Iterator[str]:
    for mine, theirs in rule.columns.items():
        left, right = here.columns.get(mine), there.columns.get(theirs)
        if left and right and loses(left, right):
            yield (
                f"{here.label}.{mine} is {left.type} and cannot keep every value of {right.type}"
                f" ({there.label}.{theirs}): the copy would be found wrong again. Only report, or change its type."
            )


def compiled(rule: Mismatch, catalog: Catalog) -> Check:
    """Write the rule in SQL. A row without its counterpart is no mismatch: that is an orphan."""
    here, there = catalog.tables[rule.table], catalog.tables[rule.source]
    joined, differs = same(rule.join, "s"), _differs(rule, here, there)
    limited = all_of([*only(rule.only, here), *_settled(rule)])
    partner = sql.SQL("FROM {} s WHERE {}").format(there.identifier, joined)
    wanted = COMMA.join([*key_text(here), _shown(rule, here, there)])
    find = sql.SQL("SELECT {} FROM {} t JOIN {} s ON {} WHERE {} AND ({})").format(
        wanted, here.identifier, there.identifier, joined, limited, differs
    )
    # A NULL that this table does not take is reported, and is no reason for the database to refuse a whole batch.
    filled = [theirs for mine, theirs in rule.columns.items() if not here.columns[mine].nullable]
    takeable = known(filled if rule.repair == "copy" else [], "s")
    copied: dict[str, sql.Composable] = {
        mine: sql.SQL("(SELECT {} {})").format(column(theirs, "s"), partner) for mine, theirs in rule.columns.items()
    }
    return Check(
        rule=rule,
        table=here,
        find=find,
        wrong=AND.join([limited, sql.SQL("EXISTS (SELECT {} AND ({}) AND {})").format(partner, differs, takeable)]),
        change=Assign(copied) if rule.repair == "copy" else None,
        notes=tuple(_notes(rule, here, there)),
    )


def _differs(rule: Mismatch, here: Table, there: Table) -> sql.Composed:
    return any_of(_differ(mine, here, theirs, there) for mine, theirs in rule.columns.items())


def _differ(mine: str, here: Table, theirs: str, there: Table) -> sql.Composed:
    return sql.SQL("{} IS DISTINCT FROM {}").format(comparable(mine, here, "t"), comparable(theirs, there, "s"))


def _settled(rule: Mismatch) -> Iterator[sql.Composed]:
    if rule.settled_column:
        old = ago(rule.settled_column, rule.settled_minutes)
        yield sql.SQL("{} IS NULL OR {}").format(column(rule.settled_column), old)


def _shown(rule: Mismatch, here: Table, there: Table) -> sql.Composed:
    """Write what differs as evidence: `status past_due, and active in subscriptions`."""
    each = [
        sql.SQL("CASE WHEN {} THEN {} || {} || ', and ' || {} || {} END").format(
            _differ(mine, here, theirs, there),
            sql.Literal(f"{mine} "),
            value_text(mine),
            value_text(theirs, "s"),
            sql.Literal(f" in {there.label}"),
        )
        for mine, theirs in rule.columns.items()
    ]
    return sql.SQL("concat_ws('; ', {})").format(COMMA.join(each))


def _notes(rule: Mismatch, here: Table, there: Table) -> Iterator[str]:
    yield f"{there.label} is right."
    if rule.repair != "report":
        yield from write_notes(here)
        yield from index_note(there, tuple(rule.join.values()))
    for mine, theirs in rule.columns.items():
        yield from as_text_note(here, mine)
        if rule.repair != "report" and there.columns[theirs].nullable and not here.columns[mine].nullable:
            yield f"{here.label}.{mine} is NOT NULL: where {there.label}.{theirs} is NULL, the row is left as it is."
