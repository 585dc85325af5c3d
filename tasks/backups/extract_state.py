"""Tables that are brought back beside those that are there: what can be seen of them, and the plan. Pure."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field

from tasks.backups.policies import DAY_SECONDS, TargetPolicy
from tasks.backups.state import Recovered, RestorePlan
from tasks.model import Frozen

_PART = r'(?:"((?:[^"]|"")+)"|([^".]+))'
_NAME = re.compile(rf"\s*{_PART}\.{_PART}\s*")


class ExtractPolicy(TargetPolicy):
    """Which tables are brought back beside those that are there, as of which moment."""

    database: str = Field(
        default="", max_length=63, description="Database of the tables; empty: the only one that the repository names."
    )
    source: Literal["files", "dump"] = Field(
        default="files",
        description="files: the set's files and WAL, as of any moment. dump: the logical copy that was kept with it, "
        "for when its files cannot be restored.",
    )
    tables: list[str] = Field(
        default_factory=list,
        max_length=100,
        description="Tables, each with its schema, e.g. public.orders; a name that has a dot in double quotes. Of "
        "a partitioned table all partitions are brought.",
    )
    into_schema: str = Field(
        default="",
        max_length=63,
        pattern=r"^([a-z_][a-z0-9_]*)?$",
        description="Schema that is made for the copies; it must not be there yet. Empty: salvor_ and the time.",
    )
    compare: bool = Field(
        default=True,
        description="Count the rows that are missing or different now: reads the tables of production once.",
    )
    min_interval_seconds: int = Field(
        default=0, ge=0, le=DAY_SECONDS, description="Refuse when this was done less than so many seconds ago."
    )


class Table(Frozen):
    """One table, as one server has it."""

    schema_name: str
    name: str
    there: bool
    unfit: str = ""  #: why it cannot be copied
    bytes: int = 0

    @property
    def label(self) -> str:
        """Name it for a sentence, as a set's facts do."""
        return f"{self.schema_name}.{self.name}"


class Left(Frozen):
    """A schema that a run has made, or was about to make when it died."""

    schema_name: str
    mark: str  #: its comment, by which it is known


class ExtractPlan(RestorePlan):
    """Which tables of a copy go into which schema of the primary."""

    volatile: ClassVar[frozenset[str]] = RestorePlan.volatile | {"into", "mark", "left"}

    database: str
    tables: tuple[tuple[str, str], ...]  #: schema and name of each
    into: str
    mark: str  #: what the schema says of itself: only one that says this is ever dropped
    onto: str  #: the node that takes writes
    left: tuple[Left, ...] = ()  #: by runs that died
    compare: bool = True

    @property
    def labels(self) -> str:
        """Name the tables for a sentence."""
        return ", ".join(f"{schema}.{name}" for schema, name in self.tables)


class Ground(Frozen):
    """What the primary has where the copies are to go."""

    database: str = ""
    databases: tuple[str, ...] = ()
    schemas: tuple[Left, ...] = ()  #: with their comments
    tables: tuple[Table, ...] = ()
    partitioned: tuple[str, ...] = ()  #: schemas that have partitioned tables
    counted: tuple[str, ...] = ()  #: tables, with their database, whose rows were counted when the set was taken
    published: str = ""  #: publications of every table there is
    may_create: bool = True
    problem: str = ""
    dead: ExtractPlan | None = None  #: plan of a run that died


class Copied(Frozen):
    """One table, in the copy and beside production's own."""

    label: str
    kept: int | None = None  #: rows in the copy
    there: int | None = None  #: rows beside production's own
    same: bool = False  #: their content is the same
    missing: int | None = None  #: rows that production's own table lacks now
    different: int | None = None  #: rows that are other ones there now
    look: str = ""  #: the statement that shows both
    back: str = ""  #: the statement that brings back what is missing
    problem: str = ""


class Beside(Frozen):
    """What came of it."""

    copy_said: Recovered
    tables: tuple[Copied, ...] = ()


def parted(text: str) -> tuple[str, str] | None:
    """Read the name of a table with its schema; None when it is none. Nothing is folded to lower case."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    first, plain, second, other = found.groups()
    return _unquoted(first) or plain, _unquoted(second) or other


def _unquoted(text: str | None) -> str:
    return (text or "").replace('""', '"')
