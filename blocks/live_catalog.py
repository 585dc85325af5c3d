"""What the database says of the tables that rules name: columns, keys, and what happens when a row is written."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    system_identifier: str = ""
    version: int = 0  #: server_version_num
    amcheck: bool = False  #: the extension is installed
    constraints: frozenset[str] = field(default_factory=frozenset)
