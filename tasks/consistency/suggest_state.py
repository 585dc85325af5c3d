"""What a look at the tables of an application gave to propose rules from. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from tasks.model import Frozen

Sureness = Literal["sure", "likely", "perhaps"]


class Guess(Frozen):
    """Columns that seem to point to a key, and nothing makes sure of it."""

    table: str
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    why: str  #: how their names led there
    sure: Sureness  #: by the names alone


class Passed(Frozen):
    """A column that looks as if it pointed somewhere, and why no rule is proposed for it."""

    table: str
    column: str
    why: str


class Counter(Frozen):
    """A column that is filled by a sequence."""

    table: str
    column: str


class Sampled(Frozen):
    """A guess, held against some of the rows."""

    guess: Guess
    looked_at: int = 0  #: rows in which the columns are not NULL
    missing: int = 0  #: of these, how many point to nothing
    problem: str = ""  #: why no row was looked at

    @property
    def share(self) -> float:
        """How many of the rows that were looked at point to nothing, from 0 to 1."""
        return self.missing / self.looked_at if self.looked_at else 0.0


class Survey(Frozen):
    """All tables of a schema."""

    target: str
    at: datetime
    where: str  #: the database that was looked at, in words
    schema_name: str
    tables: int
    columns: int
    unreadable: tuple[str, ...] = ()  #: tables that Salvor may not read
    constrained: int = 0  #: columns that a foreign key makes sure of
    in_pack: int = 0  #: rules that the pack has already
    sampled: tuple[Sampled, ...] = ()
    counters: tuple[Counter, ...] = ()
    passed: tuple[Passed, ...] = ()
