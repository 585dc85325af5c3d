"""What the database says of the tables that rules name: columns, keys, and what happens when a row is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql

from blocks.live_queries import (
    COLUMNS,
    INDEXES,
    KEYS,
    NAMES,
    NEIGHBOURS,
    SCHEMA_TABLES,
    SEQUENCES,
    SERVER,
    TABLES,
    TRIGGERS,
)


@dataclass(frozen=True)
class Column:
    """A column."""

    name: str
    type: str  #: as PostgreSQL writes it, e.g. bigint, character varying(20)
    category: str  #: pg_type.typcategory of its base type: N number, S text, D date and time, B boolean, ...
    nullable: bool
    generated: bool  #: GENERATED ALWAYS AS (expression): never written
    always_identity: bool  #: GENERATED ALWAYS AS IDENTITY: given back with OVERRIDING SYSTEM VALUE
    base: str = ""  #: its type without length or precision; of a domain, what it is made of
    sequence: str | None = None  #: the sequence that fills it, quoted and with its schema
    sequence_readable: bool = True
    sequence_writable: bool = True

    @property
    def kind(self) -> str:
        """Name the type by which it is compared."""
        return self.base or self.type


@dataclass(frozen=True)
class ForeignKey:
    """A constraint of another table on this one, or of this one on another."""

    name: str
    child: str  #: quoted and with its schema, as Table.quoted
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
    entered: bool = True  #: we may use its schema
    owned: bool = True  #: we may alter it
    referable: bool = True  #: a foreign key of ours may point to it
    inherited: bool = False  #: other tables inherit from it, and are no partitions
    rewritten: bool = False  #: a rule of CREATE RULE does something else than what is written
    triggers: tuple[str, ...] = ()  #: enabled, of the user's own, on UPDATE, INSERT or DELETE; of its partitions, too
    outgoing: tuple[ForeignKey, ...] = ()
    incoming: tuple[ForeignKey, ...] = ()

    @property
    def identifier(self) -> sql.Identifier:
        """Give its quoted name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def quoted(self) -> str:
        """Write its name as in SQL, always the same way."""
        return self.identifier.as_string()

    @property
    def schema_quoted(self) -> str:
        """Write its schema's name as in SQL."""
        return sql.Identifier(self.schema).as_string()

    @property
    def label(self) -> str:
        """Name it for a sentence."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Catalog:
    """All tables that were asked for and found, by the name that the rules use."""

    tables: dict[str, Table]
    version: int = 0  #: server_version_num
    amcheck: str = ""  #: the quoted name of its function; empty: the extension is not installed
    amcheck_allowed: bool = False  #: and we may execute it
    neighbours: tuple[str, ...] = ()  #: when a table was not found: the names that could have been meant


def tables_in(connection: psycopg.Connection[Any], schema: str) -> list[str]:
    """Name the tables of a schema; a partition is part of its table."""
    return [name for (name,) in connection.execute(SCHEMA_TABLES, [schema]).fetchall()]


def read(connection: psycopg.Connection[Any], schema: str, names: Iterable[str]) -> Catalog:
    """Look up the tables NAMES, in SCHEMA unless a name says another; one that is not there is left out."""
    wanted = sorted(set(names))
    places = [_place(schema, name) for name in wanted]
    given = {"names": wanted, "schemas": [p[0] for p in places], "tables": [p[1] for p in places]}
    found = connection.execute(TABLES, given).fetchall()
    parts = _Parts(connection, [row[1] for row in found])
    version, amcheck_schema, amcheck, allowed = connection.execute(SERVER).fetchall()[0]
    lost = [] if len(found) == len(wanted) else _neighbours(connection, schema, given["schemas"])
    return Catalog(
        tables={row[0]: parts.table(*row[1:]) for row in found},
        version=version,
        amcheck=_quoted(amcheck_schema, amcheck) if amcheck else "",
        amcheck_allowed=bool(allowed),
        neighbours=tuple(lost),
    )


def _place(schema: str, name: str) -> tuple[str, str]:
    before, dot, after = name.partition(".")
    return (before, after) if dot else (schema, name)


def _neighbours(connection: psycopg.Connection[Any], schema: str, schemas: list[str]) -> list[str]:
    given = {"schema": schema, "schemas": [schema, *schemas], "most": NEIGHBOURS}
    return [row[0] for row in connection.execute(NAMES, given).fetchall()]


def _quoted(schema: str, name: str) -> str:
    return sql.Identifier(schema, name).as_string()


class _Parts:
    """What belongs to tables, read for all of them at once."""

    def __init__(self, connection: psycopg.Connection[Any], oids: list[int]) -> None:
        given = {"oids": oids}
        self._columns: defaultdict[int, dict[str, Column]] = defaultdict(dict)
        for oid, *facts in connection.execute(COLUMNS, [oids]).fetchall():
            self._columns[oid][facts[0]] = Column(*facts)
        for oid, name, schema, sequence, *may in connection.execute(SEQUENCES, given).fetchall():
            found = replace(self._columns[oid][name], sequence=_quoted(schema, sequence))
            self._columns[oid][name] = replace(found, sequence_readable=may[0], sequence_writable=may[1])
        self._indexes: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for oid, *facts in connection.execute(INDEXES, [oids]).fetchall():
            self._indexes[oid].append(tuple(facts))
        self._triggers: defaultdict[int, list[str]] = defaultdict(list)
        for oid, name in connection.execute(TRIGGERS, given).fetchall():
            self._triggers[oid].append(name)
        self._keys: defaultdict[tuple[int, bool], list[ForeignKey]] = defaultdict(list)
        for oid, inward, name, *facts in connection.execute(KEYS, given).fetchall():
            self._keys[oid, inward].append(_key(name, *facts))

    def table(self, oid: int, *facts: Any) -> Table:  # noqa: ANN401 - a row of TABLES
        """Put one together."""
        indexes = self._indexes[oid]
        schema, name, kind, rows, size, readable, writable, hides, entered, owned, referable, inherited, rules = facts
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
            hides_rows=hides,
            entered=entered,
            owned=owned,
            referable=referable,
            inherited=inherited,
            rewritten=rules,
            triggers=tuple(self._triggers[oid]),
            outgoing=tuple(self._keys[oid, False]),
            incoming=tuple(self._keys[oid, True]),
        )


def _key(name: str, *facts: Any) -> ForeignKey:  # noqa: ANN401 - a row of KEYS
    child_schema, child, columns, parent_schema, parent, keys, on_delete, validated = facts
    return ForeignKey(
        name=name,
        child=_quoted(child_schema, child),
        columns=tuple(columns),
        parent=_quoted(parent_schema, parent),
        parent_columns=tuple(keys),
        on_delete=on_delete,
        validated=validated,
    )
