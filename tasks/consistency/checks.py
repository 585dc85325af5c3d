"""What a rule becomes for a catalog: how its wrong rows are found, told again from right ones, and changed. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from blocks.live_catalog import Table
from blocks.rules import Pointer, Rule


@dataclass(frozen=True)
class Assign:
    """Give columns of a wrong row new values; each is an expression over the row `t`.

    REPOINT: first lead what points to the row to the one that stays.
    """

    values: dict[str, sql.Composable]
    repoint: tuple[Pointer, ...] = ()
    keeper: sql.Composable | None = None  #: a subselect over `t`: the primary key of the row that stays


@dataclass(frozen=True)
class Quarantine:
    """Move a wrong row to the quarantine. REPOINT: first lead what points to it to the row that stays."""

    repoint: tuple[Pointer, ...] = ()
    keeper: sql.Composable | None = None  #: a subselect over `t`: the primary key of the row that stays


@dataclass(frozen=True)
class Delete:
    """Delete a wrong row, with no copy."""


@dataclass(frozen=True)
class Advance:
    """Set a sequence past the largest value of its column."""

    statement: sql.Composed  #: does nothing when it is already past it


Change = Assign | Quarantine | Delete | Advance


@dataclass(frozen=True)
class Fence:
    """What keeps new wrong rows out. BEFORE is taken before the repair, AFTER proves or builds it at the end."""

    kind: Literal["foreign key", "unique index"]
    name: str  #: of the constraint or index; ours, so that a second run knows it
    before: sql.Composed | None  #: ALTER TABLE ... NOT VALID
    after: sql.Composed | None  #: VALIDATE, or CREATE UNIQUE INDEX CONCURRENTLY
    remove: sql.Composed


@dataclass(frozen=True)
class Check:
    """One rule in SQL.

    FIND returns, for each wrong row, the primary key's columns as text and then evidence as one text; it holds for one
    moment and may be sent to a standby. WRONG is the same question for a single row `t`, asked again under its lock.
    A check without a table (an invariant) or without a change is only reported; FIND then returns evidence alone.
    """

    rule: Rule
    table: Table | None
    find: sql.Composed
    wrong: sql.Composed | None = None
    change: Change | None = None
    fence: Fence | None = None
    rival: sql.Composable | None = (
        None  #: of a duplicate: that row `o` has the key of row `t`; it must not go meanwhile
    )
    parent: sql.Identifier | None = None  #: of an orphan: the table it points to
    alone: sql.Composable | None = None  #: an author's own query, of which the server must say that it is one
    each: Callable[[str], sql.Composed] | None = None  #: FIND gives things with a name, each of which is looked at
    notes: tuple[str, ...] = ()  #: what a person should know who judges the plan: triggers that fire, what is lossy
