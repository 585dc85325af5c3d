"""Change the rows of one batch, and keep in the same transaction what they were before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql

from blocks.app_database import Connection
from blocks.ledger.findings import Key
from blocks.live_catalog import Catalog, Table
from blocks.rules import Pointer
from tasks.consistency.checks import Assign, Check, Delete, Quarantine
from tasks.consistency.phrases import COMMA, all_of, column, columns, given_keys, key_text
from tasks.consistency.repair_state import Account
from tasks.consistency.stores import quarantine


class Batch(NamedTuple):
    """Where a batch belongs."""

    run_id: str
    check: Check
    table: Table
    catalog: Catalog
    wrong: sql.Composable


class Outcome(NamedTuple):
    """What became of the keys of a batch."""

    account: Account
    locked: list[Key]  #: somebody else has the row just now
    right: list[Key]  #: no longer wrong, or gone


REFERENCED = "rows of other tables refer to it by a foreign key"
UNCHANGED = "a trigger of the table kept it as it was"


def change(connection: Connection, batch: Batch, keys: Sequence[Key]) -> Outcome:
    """Change those of the rows that are still wrong and that nobody has locked.

    Whether they are wrong is asked once more by the statement that writes: what it depends on in other rows may have
    changed since the row was locked.
    """
    held = _held(connection, batch, keys)
    _hold_rivals(connection, batch, list(held))
    referred = _referred(connection, batch, list(held))
    mine = [key for key in held if key not in referred]
    done = _changed(connection, batch, mine) if mine else set()
    rest = [key for key in keys if key not in done and key not in referred]
    still = _wrong_of(connection, batch, rest)
    unchanged = [key for key in rest if key in still and key in held]
    account = Account(
        rule=batch.check.rule.name,
        skipped=len(referred) + len(unchanged),
        why=(*([REFERENCED] if referred else []), *([UNCHANGED] if unchanged else [])),
        **{_field(batch): len(done)},
    )
    locked = [key for key in rest if key in still and key not in held]
    return Outcome(account, locked, [key for key in rest if key not in still])


def _field(batch: Batch) -> str:
    if isinstance(batch.check.change, Quarantine):
        return "quarantined"
    return "deleted" if isinstance(batch.check.change, Delete) else "repaired"


def _held(connection: Connection, batch: Batch, keys: Sequence[Key]) -> dict[Key, None]:
    query = sql.SQL("SELECT {} FROM {} t JOIN {} ON {} WHERE {} FOR UPDATE OF t SKIP LOCKED").format(
        COMMA.join(key_text(batch.table)), batch.table.identifier, given_keys(batch.table, keys), _joined(batch.table),
        batch.wrong,
    )  # fmt: skip
    return dict.fromkeys(connection.execute(query).fetchall())


def _hold_rivals(connection: Connection, batch: Batch, keys: list[Key]) -> None:
    """Hold the rows that have the same key: whoever takes the one that stays away meanwhile would leave none."""
    if not keys or batch.check.rival is None:
        return
    query = sql.SQL("SELECT FROM {} t JOIN {} ON {} JOIN {} o ON {} FOR SHARE OF o").format(
        batch.table.identifier, given_keys(batch.table, keys), _joined(batch.table), batch.table.identifier,
        batch.check.rival,
    )  # fmt: skip
    connection.execute(query)


def _wrong_of(connection: Connection, batch: Batch, keys: Sequence[Key]) -> set[Key]:
    if not keys:
        return set()
    query = sql.SQL("SELECT {} FROM {} t JOIN {} ON {} WHERE {}").format(
        COMMA.join(key_text(batch.table)), batch.table.identifier, given_keys(batch.table, keys), _joined(batch.table),
        batch.wrong,
    )  # fmt: skip
    return set(connection.execute(query).fetchall())


def _wrong_now(batch: Batch) -> sql.Composed:
    return sql.SQL("{} AND ({})").format(_joined(batch.table), batch.wrong)


def _joined(table: Table, alias: str = "k") -> sql.Composed:
    return all_of(sql.SQL("{} = {}").format(column(name), column(name, alias)) for name in table.primary_key)


def _referred(connection: Connection, batch: Batch, keys: list[Key]) -> set[Key]:
    """Find rows that a foreign key of the database itself points to: deleting them fails, or changes other rows."""
    if not keys or not batch.table.incoming or not isinstance(batch.check.change, Quarantine | Delete):
        return set()
    found: set[Key] = set()
    for foreign in batch.table.incoming:
        pairs = zip(foreign.columns, foreign.parent_columns, strict=True)
        points = all_of(sql.SQL("{} = {}").format(column(mine, "r"), column(theirs)) for mine, theirs in pairs)
        repointed = _repointed(batch, foreign.child, foreign.columns)
        query = sql.SQL("SELECT {} FROM {} t JOIN {} ON {} WHERE EXISTS (SELECT FROM {} r WHERE {})").format(
            COMMA.join(key_text(batch.table)), batch.table.identifier, given_keys(batch.table, keys),
            _joined(batch.table), sql.SQL(foreign.child), points,
        )  # fmt: skip
        found |= set() if repointed else set(connection.execute(query).fetchall())
    return found


def _repointed(batch: Batch, child: str, names: tuple[str, ...]) -> bool:
    assert isinstance(batch.check.change, Quarantine | Delete)  # noqa: S101 - who calls this has looked
    pointers = getattr(batch.check.change, "repoint", ())
    return any(each.columns == names and batch.catalog.tables[each.table].quoted == child for each in pointers)


def _changed(connection: Connection, batch: Batch, keys: list[Key]) -> set[Key]:
    kind = batch.check.change
    if isinstance(kind, Assign | Quarantine) and kind.keeper is not None:
        for pointer in kind.repoint:
            _lead(connection, batch, pointer, kind.keeper, keys)
    if isinstance(kind, Assign):
        where = sql.SQL("{} WHERE {}").format(given_keys(batch.table, keys), _wrong_now(batch))
        return _assign(connection, batch, batch.table, dict(kind.values), where)
    gone = sql.SQL("DELETE FROM {} t USING {} WHERE {} RETURNING t.*").format(
        batch.table.identifier, given_keys(batch.table, keys), _wrong_now(batch)
    )
    if isinstance(kind, Delete):
        query = sql.SQL("WITH gone AS ({}) SELECT ARRAY[{}] FROM gone t").format(
            gone, COMMA.join(key_text(batch.table))
        )
        return _keys(connection, query)
    statement = sql.SQL(
        "WITH gone AS ({}) INSERT INTO {} (salvor_run, salvor_rule, salvor_key, {})"
        " SELECT {}, {}, ARRAY[{}], {} FROM gone t RETURNING salvor_key"
    ).format(
        gone,
        quarantine(connection, batch.table),
        COMMA.join(map(sql.Identifier, batch.table.columns)),
        sql.Literal(batch.run_id),
        sql.Literal(batch.check.rule.name),
        COMMA.join(key_text(batch.table)),
        columns(batch.table.columns),
    )
    return _keys(connection, statement)


def _keys(connection: Connection, statement: sql.Composed) -> set[Key]:
    return {tuple(key) for (key,) in connection.execute(statement).fetchall()}


def _lead(connection: Connection, batch: Batch, pointer: Pointer, keeper: sql.Composable, keys: list[Key]) -> None:
    """Lead the rows of another table from the rows that go to the rows that stay."""
    other = batch.catalog.tables[pointer.table]
    places = [sql.Identifier(f"stays{number}") for number in range(len(pointer.columns))]
    source = sql.SQL(
        "(SELECT {old}, {new} FROM {table} t JOIN {keys} ON {joined},"
        " LATERAL ({keeper}) AS stays ({new})) AS lead WHERE {points}"
    ).format(
        old=columns(batch.table.primary_key),
        new=COMMA.join(places),
        table=batch.table.identifier,
        keys=given_keys(batch.table, keys),
        joined=_wrong_now(batch),
        keeper=keeper,
        points=all_of(
            sql.SQL("{} = {}").format(column(mine), column(theirs, "lead"))
            for mine, theirs in zip(pointer.columns, batch.table.primary_key, strict=True)
        ),
    )
    values: dict[str, sql.Composable] = {
        name: sql.SQL("lead.{}").format(place) for name, place in zip(pointer.columns, places, strict=True)
    }
    _assign(connection, batch, other, values, source)


def _assign(
    connection: Connection, batch: Batch, table: Table, values: dict[str, sql.Composable], where: sql.Composable
) -> set[Key]:
    names = list(values)
    key = sql.SQL("ARRAY[{}]").format(COMMA.join(key_text(table)))
    texts = sql.SQL("ARRAY[{}]").format(COMMA.join(sql.SQL("{}::text").format(column(name)) for name in names))
    old_source = sql.SQL("SELECT {} AS key, {} AS before FROM {} t, {}").format(key, texts, table.identifier, where)
    statement = sql.SQL(
        "WITH old AS MATERIALIZED ({old}), new AS (UPDATE {table} t SET {sets} FROM {where}"
        " RETURNING {key} AS key, {texts} AS after, hashtextextended(t::text, 0) AS hash)"
        " INSERT INTO salvor.consistency_changes"
        " (run_id, rule, schema_name, table_name, key, columns, before, after, hash_after)"
        " SELECT {run}, {rule}, {schema}, {name}, key, {names}::text[], before, after, hash"
        " FROM new JOIN old USING (key) RETURNING key"
    ).format(
        old=old_source,
        table=table.identifier,
        sets=COMMA.join(sql.SQL("{} = {}").format(sql.Identifier(name), value) for name, value in values.items()),
        where=where,
        key=key,
        texts=texts,
        run=sql.Literal(batch.run_id),
        rule=sql.Literal(batch.check.rule.name),
        schema=sql.Literal(table.schema),
        name=sql.Literal(table.name),
        names=sql.Literal(names),
    )
    return _keys(connection, statement)
