"""What the database says of the tables that rules name: columns, keys, and what happens when a row is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql


@dataclass(frozen=True)
class Column:
    """A column."""

    name: str
    type: str  #: as PostgreSQL writes it, e.g. bigint, character varying(20)
    category: str  #: pg_type.typcategory of its base type: N number, S text, D date and time, B boolean, ...
    nullable: bool
    generated: bool  #: GENERATED ALWAYS AS (expression): never written
    always_identity: bool  #: GENERATED ALWAYS AS IDENTITY: given back with OVERRIDING SYSTEM VALUE
    sequence: str | None = None  #: the sequence that fills it, as regclass text


@dataclass(frozen=True)
class ForeignKey:
    """A constraint of another table on this one, or of this one on another."""

    name: str
    child: str  #: regclass text
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    on_delete: str  #: pg_constraint.confdeltype: a nothing, r restrict, c cascade, n set null, d set default
    validated: bool


@dataclass(frozen=True)
class Table:
    """A table, as it is now."""

    schema: str
    name: str
    kind: str  #: pg_class.relkind: r table, p partitioned, v view, m materialised view, f foreign
    columns: dict[str, Column]
    primary_key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...]  #: column sets of valid unique indexes without predicate, the primary key too
    indexed: tuple[tuple[str, ...], ...]  #: columns of all valid indexes, in their order
    rows: float  #: the planner's estimate; below 0 when never analysed
    bytes: int  #: with indexes and TOAST
    readable: bool
    writable: bool  #: UPDATE, INSERT and DELETE
    hides_rows: bool  #: row-level security would keep rows from our user
    triggers: tuple[str, ...] = ()  #: enabled, of the user's own, on UPDATE, INSERT or DELETE
    outgoing: tuple[ForeignKey, ...] = ()
    incoming: tuple[ForeignKey, ...] = ()

    @property
    def identifier(self) -> sql.Identifier:
        """Give its quoted name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def label(self) -> str:
        """Name it for a sentence."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Catalog:
    """All tables that were asked for and found, by the name that the rules use."""

    tables: dict[str, Table]
    version: int = 0  #: server_version_num
    amcheck: bool = False  #: the extension is installed


_TABLES = """
SELECT given.name, c.oid, n.nspname, c.relname, c.relkind::text, c.reltuples::float8,
       CASE WHEN c.relkind IN ('r', 'm') THEN pg_total_relation_size(c.oid) ELSE coalesce((
           SELECT sum(pg_total_relation_size(leaf.relid)) FROM pg_partition_tree(c.oid) leaf WHERE leaf.isleaf), 0)
       END::bigint,
       has_table_privilege(c.oid, 'SELECT'),
       has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'INSERT')
           AND has_table_privilege(c.oid, 'DELETE'),
       row_security_active(c.oid)
FROM unnest(%(names)s::text[], %(schemas)s::text[], %(tables)s::text[]) AS given (name, schema, relation)
JOIN pg_namespace n ON n.nspname = given.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = given.relation AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), coalesce(b.typcategory, t.typcategory)::text,
       NOT (a.attnotnull OR t.typnotnull), a.attgenerated <> '', a.attidentity = 'a',
       pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = nullif(t.typbasetype, 0)
WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""
_INDEXES = """
SELECT i.indrelid, i.indisprimary, i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL,
       i.indpred IS NULL AND i.indexprs IS NULL,
       array(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
             WHERE k.place <= i.indnkeyatts ORDER BY k.place)
FROM pg_index i WHERE i.indrelid = ANY (%s) AND i.indisvalid
"""
_KEYS = """
SELECT o.conname, o.conrelid, o.conrelid::regclass::text,
       array(SELECT a.attname::text FROM unnest(o.conkey) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute a ON a.attrelid = o.conrelid AND a.attnum = k.number ORDER BY k.place),
       o.confrelid, o.confrelid::regclass::text,
       array(SELECT a.attname::text FROM unnest(o.confkey) WITH ORDINALITY AS k (number, place)
             JOIN pg_attribute a ON a.attrelid = o.confrelid AND a.attnum = k.number ORDER BY k.place),
       o.confdeltype::text, o.convalidated
FROM pg_constraint o
WHERE o.contype = 'f' AND o.conparentid = 0 AND (o.conrelid = ANY (%(oids)s) OR o.confrelid = ANY (%(oids)s))
ORDER BY o.conname
"""
_TRIGGERS = """
SELECT t.tgrelid, t.tgname FROM pg_trigger t
WHERE t.tgrelid = ANY (%s) AND NOT t.tgisinternal AND t.tgenabled <> 'D' ORDER BY t.tgname
"""
_SERVER = """
SELECT current_setting('server_version_num')::int, EXISTS (SELECT FROM pg_extension WHERE extname = 'amcheck')
"""


_NAMES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY c.relname
"""


def tables_in(connection: psycopg.Connection[Any], schema: str) -> list[str]:
    """Name the tables of a schema; a partition is part of its table."""
    return [name for (name,) in connection.execute(_NAMES, [schema]).fetchall()]


def read(connection: psycopg.Connection[Any], schema: str, names: Iterable[str]) -> Catalog:
    """Look up the tables NAMES, in SCHEMA unless a name says another; one that is not there is left out."""
    wanted = sorted(set(names))
    places = [_place(schema, name) for name in wanted]
    given = {"names": wanted, "schemas": [p[0] for p in places], "tables": [p[1] for p in places]}
    found = connection.execute(_TABLES, given).fetchall()
    parts = _Parts(connection, [row[1] for row in found])
    version, amcheck = connection.execute(_SERVER).fetchall()[0]
    return Catalog({row[0]: parts.table(*row[1:]) for row in found}, version, amcheck)


def _place(schema: str, name: str) -> tuple[str, str]:
    before, dot, after = name.partition(".")
    return (before, after) if dot else (schema, name)


class _Parts:
    """What belongs to tables, read for all of them at once."""

    def __init__(self, connection: psycopg.Connection[Any], oids: list[int]) -> None:
        self._columns: defaultdict[int, dict[str, Column]] = defaultdict(dict)
        for oid, *facts in connection.execute(_COLUMNS, [oids]).fetchall():
            self._columns[oid][facts[0]] = Column(*facts)
        self._indexes: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for oid, *facts in connection.execute(_INDEXES, [oids]).fetchall():
            self._indexes[oid].append(tuple(facts))
        self._triggers: defaultdict[int, list[str]] = defaultdict(list)
        for oid, name in connection.execute(_TRIGGERS, [oids]).fetchall():
            self._triggers[oid].append(name)
        self._outgoing: defaultdict[int, list[ForeignKey]] = defaultdict(list)
        self._incoming: defaultdict[int, list[ForeignKey]] = defaultdict(list)
        for name, child, label, columns, parent, parent_label, keys, *rest in connection.execute(
            _KEYS, {"oids": oids}
        ).fetchall():
            key = ForeignKey(name, label, tuple(columns), parent_label, tuple(keys), *rest)
            self._outgoing[child].append(key)
            self._incoming[parent].append(key)

    def table(self, oid: int, *facts: Any) -> Table:  # noqa: ANN401 - a row of _TABLES
        """Put one together."""
        indexes = self._indexes[oid]
        schema, name, kind, rows, size, readable, writable, hides_rows = facts
        return Table(
            schema=schema,
            name=name,
            kind=kind,
            columns=self._columns[oid],
            primary_key=next((tuple(columns) for primary, *_, columns in indexes if primary), ()),
            unique=tuple(tuple(columns) for _, unique, _, columns in indexes if unique),
            indexed=tuple(tuple(columns) for _, _, whole, columns in indexes if whole),
            rows=rows,
            bytes=size,
            readable=readable,
            writable=writable,
            hides_rows=hides_rows,
            triggers=tuple(self._triggers[oid]),
            outgoing=tuple(self._outgoing[oid]),
            incoming=tuple(self._incoming[oid]),
        )
