"""Several rows with a key that should be of one."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from blocks.live_catalog import Catalog, Table
from blocks.rules import Duplicate, Order
from tasks.consistency.checks import Assign, Change, Check, Fence, Quarantine
from tasks.consistency.fitting import (
    column_misfits,
    index_note,
    is_unique,
    only_misfits,
    owner_misfits,
    pair_misfits,
    table_misfits,
    write_notes,
    written_misfits,
)
from tasks.consistency.likeness import as_text_note, equality_misfits
from tasks.consistency.phrases import (
    AND,
    COMMA,
    all_of,
    any_of,
    column,
    columns,
    comparable,
    fence_name,
    key_text,
    known,
    only,
    shown,
)


def misfits(rule: Duplicate, catalog: Catalog) -> Iterator[str]:
    """Say what does not fit."""
    writes = rule.repair != "report"
    yield from table_misfits(catalog, rule.table, to_write=writes or rule.fence)
    table = catalog.tables.get(rule.table)
    if table is None:
        return
    ordered = [each.column for each in rule.keep]
    yield from column_misfits(table, [*rule.columns, *ordered])
    yield from only_misfits(table, rule.only)
    yield from equality_misfits(table, ordered, "brought into an order")
    if all(name in table.columns for name in ordered) and not _total(table, ordered):
        yield (
            f"`keep` of the rule does not decide between all rows of {table.label}: end it with a unique column, e.g."
            f" {', '.join(table.primary_key) or 'the primary key'}."
        )
    if rule.repair == "null":
        yield from written_misfits(table, rule.columns, nulled=True)
    for pointer in rule.repoint:
        yield from table_misfits(catalog, pointer.table, to_write=writes)
        other = catalog.tables.get(pointer.table)
        if other and len(pointer.columns) != len(table.primary_key):
            yield f"{pointer.table}: name as many columns as the primary key of {table.label} has."
        elif other:
            yield from column_misfits(other, pointer.columns)
            yield from written_misfits(other, pointer.columns)
            yield from pair_misfits(table, table.primary_key, other, pointer.columns)
    if rule.fence and rule.only:
        yield "A unique index of Salvor holds for every row, so a rule with `only` cannot have a fence."
    if rule.fence:
        yield from owner_misfits(table)
        yield from equality_misfits(table, rule.columns, "made unique")
    if rule.fence and table.kind == "p":
        yield f"{table.label} is partitioned: no unique index can be built on it without blocking writers."


def _total(table: Table, ordered: list[str]) -> bool:
    return is_unique(table, [name for name in ordered if not table.columns[name].nullable])


def compiled(rule: Duplicate, catalog: Catalog) -> Check:
    """Write the rule in SQL. The row that stays is the first by `keep`; NULLs come last in it."""
    table = catalog.tables[rule.table]
    same_key = all_of(
        sql.SQL("{} = {}").format(comparable(n, table, "o"), comparable(n, table, "t")) for n in rule.columns
    )
    rival = AND.join([same_key, all_of(only(rule.only, table, "o"))])
    better = sql.SQL("EXISTS (SELECT FROM {} o WHERE {} AND ({}))").format(table.identifier, rival, _before(rule.keep))
    return Check(
        rule=rule,
        table=table,
        find=_find(rule, table),
        wrong=AND.join([_compared(rule, table), better]),
        change=_change(rule, table, rival),
        fence=_fence(rule, table) if rule.fence else None,
        rival=rival,
        notes=tuple(_notes(rule, catalog)),
    )


def _compared(rule: Duplicate, table: Table, alias: str = "t") -> sql.Composed:
    return AND.join([all_of(only(rule.only, table, alias)), known(rule.columns, alias)])


def _find(rule: Duplicate, table: Table) -> sql.Composed:
    # First the keys, which an ordered scan of their index finds; then the rows of these few.
    key = COMMA.join(map(sql.Identifier, rule.columns))
    wanted = COMMA.join([*key_text(table), shown([*rule.columns, *(each.column for each in rule.keep)])])
    names = COMMA.join(sql.Identifier(f"c{number}") for number in range(len(table.primary_key) + 1))
    return sql.SQL(
        "SELECT {names} FROM (SELECT {wanted}, row_number() OVER (PARTITION BY {parts} ORDER BY {order}) FROM {table} t"
        " JOIN (SELECT {parts} FROM {table} t WHERE {compared} GROUP BY {parts} HAVING count(*) > 1) AS d ({key})"
        " ON {joined} WHERE {compared}) AS found ({names}, place) WHERE place > 1"
    ).format(
        names=names,
        wanted=wanted,
        parts=COMMA.join(comparable(n, table, "t") for n in rule.columns),
        order=_order(rule.keep),
        table=table.identifier,
        key=key,
        compared=_compared(rule, table),
        joined=all_of(sql.SQL("{} = {}").format(column(n, "d"), comparable(n, table, "t")) for n in rule.columns),
    )


def _order(keep: tuple[Order, ...], alias: str = "t") -> sql.Composed:
    words = {"smallest": "{} ASC NULLS LAST", "largest": "{} DESC NULLS LAST"}
    return COMMA.join(sql.SQL(words[each.first]).format(column(each.column, alias)) for each in keep)


def _before(keep: tuple[Order, ...]) -> sql.Composed:
    """Ask that row `o` comes before row `t`."""
    ways = []
    for place, each in enumerate(keep):
        ties = [sql.SQL("{} IS NOT DISTINCT FROM {}").format(column(e.column, "o"), column(e.column)) for e in keep]
        ways.append(all_of([*ties[:place], _first(each)]))
    return any_of(ways)


def _first(order: Order) -> sql.Composed:
    sign = sql.SQL("<" if order.first == "smallest" else ">")
    theirs, mine = column(order.column, "o"), column(order.column)
    return sql.SQL("{0} {2} {1} OR ({0} IS NOT NULL AND {1} IS NULL)").format(theirs, mine, sign)


def _change(rule: Duplicate, table: Table, rival: sql.Composable) -> Change | None:
    if rule.repair == "null":
        return Assign({name: sql.SQL("NULL") for name in rule.columns}, rule.repoint, _keeper(rule, table, rival))
    if rule.repair == "quarantine":
        return Quarantine(rule.repoint, _keeper(rule, table, rival))
    return None


def _keeper(rule: Duplicate, table: Table, rival: sql.Composable) -> sql.Composed:
    return sql.SQL("SELECT {} FROM {} o WHERE {} ORDER BY {} LIMIT 1").format(
        columns(table.primary_key, "o"), table.identifier, rival, _order(rule.keep, "o")
    )


def _notes(rule: Duplicate, catalog: Catalog) -> Iterator[str]:
    table = catalog.tables[rule.table]
    yield f"The row that stays: {rule.why.rstrip('.')}."
    for name in rule.columns:
        yield from as_text_note(table, name)
    if rule.repair != "report":
        yield from write_notes(table)
        yield from index_note(table, rule.columns)
        for pointer in rule.repoint:
            yield from write_notes(catalog.tables[pointer.table])
            yield from index_note(catalog.tables[pointer.table], pointer.columns)


def _fence(rule: Duplicate, table: Table) -> Fence | None:
    if is_unique(table, rule.columns):
        return None
    name = fence_name(table, rule.columns)
    where = sql.Identifier(table.schema, name)
    build = sql.SQL("CREATE UNIQUE INDEX CONCURRENTLY {} ON {} ({})").format(
        sql.Identifier(name), table.identifier, COMMA.join(map(sql.Identifier, rule.columns))
    )
    remove = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(where)
    return Fence(kind="unique index", name=name, before=None, after=build, remove=remove)
