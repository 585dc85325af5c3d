"""What a run changed, newest first, and the way of each row back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import psycopg
from psycopg import sql

from blocks import live_catalog
from blocks.app_database import Connection
from blocks.ledger.findings import Key
from blocks.live_catalog import Catalog, Table
from tasks.consistency import stores
from tasks.consistency.phrases import COMMA, all_of, column, given_keys, key_text

ROWS = 500


class Trace(NamedTuple):
    """One row that a run changed, or moved to a quarantine."""

    number: int
    rule: str
    schema: str
    table: str
    key: Key
    quarantine: str  #: its name; empty when the row got other values
    columns: tuple[str, ...]
    before: tuple[str | None, ...]
    undone: str  #: by which run it was given back; empty when it was not
    hash_after: int

    @property
    def place(self) -> tuple[str, ...]:
        """What it shares with the rows that are given back by one statement, in which no row may be twice."""
        return (self.rule, self.schema, self.table, self.quarantine, *self.columns)

    @property
    def named(self) -> str:
        """Name the table as the catalog is asked for it."""
        return f"{self.schema}.{self.table}"


def traces(connection: Connection, run_id: str) -> list[Trace]:
    """Give everything that a run changed, and the runs that died before it in the same work, the newest first."""
    runs = stores.line(connection, run_id)
    found = [
        Trace(number, rule, schema, table, tuple(key), "", tuple(columns), tuple(before), undone, hash_after)
        for number, rule, schema, table, key, columns, before, undone, hash_after in stores.run(
            connection, "changes", {"runs": runs}
        )
    ]
    for name, schema, table in stores.run(connection, "quarantines"):
        query = sql.SQL(
            "SELECT salvor_number, salvor_rule, salvor_key, coalesce(salvor_undone_by, '')"
            " FROM {} WHERE salvor_run = ANY ({})"
        ).format(sql.Identifier("salvor", name), sql.Literal(runs))
        found += [
            Trace(number, rule, schema, table, tuple(key), name, (), (), undone, 0)
            for number, rule, key, undone in connection.execute(query).fetchall()
        ]
    return sorted(found, reverse=True)


def catalog_of(connection: Connection, found: Sequence[Trace]) -> Catalog:
    """Read what the tables are like now."""
    return live_catalog.read(connection, "public", {each.named for each in found})


def batches(found: Sequence[Trace]) -> Iterator[list[Trace]]:
    """Cut what is to be given back into pieces of one table, and keep the order."""
    for _, group in groupby(found, key=lambda each: each.place):
        rows = list(group)
        yield from (rows[first : first + ROWS] for first in range(0, len(rows), ROWS))


def standing(connection: Connection, catalog: Catalog, found: Sequence[Trace]) -> set[int]:
    """Tell which rows are as the run left them: the same values, or no row of that key.

    FOUND is not undone, the newest first. A row that was changed twice stands as its newest change does.
    """
    newest: dict[tuple[str, Key], Trace] = {}
    for each in found:
        newest.setdefault((each.named, each.key), each)
    last = set(newest.values())
    stands: set[int] = set()
    for rows in batches([each for each in found if each in last]):
        stands |= _standing(connection, catalog, rows)
    return {each.number for each in found if newest[each.named, each.key].number in stands}


def _standing(connection: Connection, catalog: Catalog, rows: list[Trace], *, lock: bool = False) -> set[int]:
    table = catalog.tables.get(rows[0].named)
    if table is None:
        return set()
    keys = [each.key for each in rows]
    query = sql.SQL("SELECT {}, hashtextextended(t::text, 0) FROM {} t JOIN {} ON {}{}").format(
        COMMA.join(key_text(table)), table.identifier, given_keys(table, keys), _joined(table),
        sql.SQL(" FOR UPDATE OF t SKIP LOCKED" if lock else ""),
    )  # fmt: skip
    there = {tuple(row[:-1]): row[-1] for row in connection.execute(query).fetchall()}
    if rows[0].quarantine:
        return {each.number for each in rows if each.key not in there}
    return {each.number for each in rows if there.get(each.key) == each.hash_after}


def differing(connection: Connection, catalog: Catalog, rows: list[Trace]) -> set[int]:
    """Tell which rows were given back and are not as they were before the run: a trigger, or somebody, changed them."""
    table = catalog.tables.get(rows[0].named)
    if table is None:
        return {each.number for each in rows}
    names = rows[0].columns or [each.name for each in table.columns.values() if not each.generated]
    now = sql.SQL("ARRAY[{}]").format(COMMA.join(sql.SQL("{}::text").format(column(name)) for name in names))
    numbers = sql.Literal([each.number for each in rows])
    copy = sql.SQL("ARRAY[{}]").format(COMMA.join(sql.SQL("{}::text").format(column(name, "c")) for name in names))
    moved = bool(rows[0].quarantine)
    place = sql.Identifier("salvor", rows[0].quarantine or "consistency_changes")
    number, key = (column(name, "c") for name in (("salvor_number", "salvor_key") if moved else ("number", "key")))
    before = copy if moved else column("before", "c")
    query = sql.SQL("SELECT {} FROM {} c JOIN {} t ON {} WHERE {} = ANY ({}) AND {} = {}").format(
        number, place, table.identifier, _keyed(table, key), number, numbers, now, before
    )
    same = {found for (found,) in connection.execute(query).fetchall()}
    return {each.number for each in rows} - same


def give_back(connection: Connection, catalog: Catalog, rows: list[Trace], by: str) -> int:
    """Give rows back that are as the run left them; what somebody has locked just now, or has taken, stays."""
    table = catalog.tables.get(rows[0].named)
    if table is None:
        return 0
    stands = _standing(connection, catalog, rows, lock=True)
    mine = [each for each in rows if each.number in stands]
    return _given_back(connection, table, mine, by) if mine else 0


def _given_back(connection: Connection, table: Table, rows: list[Trace], by: str) -> int:
    work = _restored if rows[0].quarantine else _reset
    try:
        with connection.transaction():
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            return work(connection, table, rows, by)
    except psycopg.IntegrityError:
        if len(rows) == 1:
            return 0  # a constraint refuses the row as it was: it stays, and is listed
    return sum(_given_back(connection, table, [each], by) for each in rows)


def _restored(connection: Connection, table: Table, rows: list[Trace], by: str) -> int:
    names = [each.name for each in table.columns.values() if not each.generated]
    listed = COMMA.join(map(sql.Identifier, names))
    place = sql.Identifier("salvor", rows[0].quarantine)
    numbers = sql.Literal([each.number for each in rows])
    statement = sql.SQL(
        "WITH back AS (INSERT INTO {table} AS t ({listed}) OVERRIDING SYSTEM VALUE"
        " SELECT {listed} FROM {place} WHERE salvor_number = ANY ({numbers}) ORDER BY salvor_number DESC"
        " ON CONFLICT DO NOTHING RETURNING ARRAY[{key}] AS key)"
        " UPDATE {place} q SET salvor_undone_by = {by} FROM back"
        " WHERE q.salvor_number = ANY ({numbers}) AND q.salvor_key = back.key"
    ).format(
        table=table.identifier,
        listed=listed,
        place=place,
        numbers=numbers,
        key=COMMA.join(key_text(table)),
        by=sql.Literal(by),
    )
    return connection.execute(statement).rowcount


def _reset(connection: Connection, table: Table, rows: list[Trace], by: str) -> int:
    sets = COMMA.join(
        sql.SQL("{} = c.before[{}]::{}").format(sql.Identifier(name), sql.Literal(place + 1), _type(table, name))
        for place, name in enumerate(rows[0].columns)
    )
    numbers = sql.Literal([each.number for each in rows])
    matches = _keyed(table, sql.SQL("c.key"))
    statement = sql.SQL(
        "WITH back AS (UPDATE {table} t SET {sets} FROM salvor.consistency_changes c"
        " WHERE c.number = ANY ({numbers}) AND {matches} AND hashtextextended(t::text, 0) = c.hash_after"
        " RETURNING c.number)"
        " UPDATE salvor.consistency_changes c SET undone_by = {by} FROM back WHERE c.number = back.number"
    ).format(table=table.identifier, sets=sets, numbers=numbers, matches=matches, by=sql.Literal(by))
    return connection.execute(statement).rowcount


def _keyed(table: Table, key: sql.Composable) -> sql.Composed:
    return all_of(
        sql.SQL("{} = ({})[{}]::{}").format(column(name), key, sql.Literal(place + 1), _type(table, name))
        for place, name in enumerate(table.primary_key)
    )


def _type(table: Table, name: str) -> sql.SQL:
    return sql.SQL(table.columns[name].type)


def _joined(table: Table) -> sql.Composed:
    return all_of(sql.SQL("{} = {}").format(column(name), column(name, "k")) for name in table.primary_key)
