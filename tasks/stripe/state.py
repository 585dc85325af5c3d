"""What a comparison with Stripe found, and what its procedures plan to do. Pure."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AwareDatetime, Field

from tasks.model import Frozen, Plan


class TableDrift(Frozen):
    """One table against Stripe."""

    table: str
    stripe: int  #: objects that Stripe has
    ours: int  #: rows that we have, tombstones not counted
    insert: int = 0
    update: int = 0
    revive: int = 0
    tombstone: int = 0  #: rows that Stripe, asked for each, does not have
    unconfirmed: int = 0  #: rows that were not listed, and were not asked for one by one

    @property
    def drift(self) -> int:
        """How many rows are not as Stripe says."""
        return self.insert + self.update + self.revive + self.tombstone + self.unconfirmed


class Duplicate(Frozen):
    """Several users who are the same customer of Stripe."""

    customer: str
    users: tuple[int, ...]
    keeper: int | None = None  #: the one who owns its live subscriptions; None when that cannot be told
    why: str = ""


class Orphan(Frozen):
    """A payment of ours whose customer or invoice we do not have."""

    payment: str
    table: str  #: of the parent
    parent: str
    healed: bool  #: Stripe has the parent, so that it is inserted


class Several(Frozen):
    """A user who, by the metadata of Stripe's customers, is several of them."""

    user: str
    customers: str


class Drift(Frozen):
    """One comparison of everything that was asked for."""

    resource: str
    at: AwareDatetime  #: the moment for which it is true, of both sides
    account: str
    connected: int = 0  #: accounts that are connected to it, and were listed as well
    tables: tuple[TableDrift, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    several: tuple[Several, ...] = ()
    more: dict[str, int] = Field(default_factory=dict)  #: how many there are of these, where not all are named
    unknown: tuple[str, ...] = ()  #: statuses that nobody knows, with how many have them
    spool: str = ""  #: the file that holds Stripe's side
    file: str = ""  #: the file that lists every difference
    digest: str = ""  #: of all differences
    requests: int = 0
    refusals: int = 0
    seconds: float = 0.0
    events: int = 0  #: events that came while the lists were read

    @property
    def drift(self) -> int:
        """How many rows are not as Stripe says."""
        return sum(table.drift for table in self.tables)


class ResyncPlan(Plan):
    """Which rows are brought to what Stripe says."""

    volatile: ClassVar[frozenset[str]] = frozenset({"spool", "file", "as_of", "before", "differences"})

    account: str
    tables: tuple[str, ...]
    operations: tuple[str, ...]
    differences: str  #: digest of the differences that were found
    changes: int
    counted: str  #: the same, in words
    duplicates: tuple[Duplicate, ...] = ()
    spool: str = ""
    file: str = ""
    as_of: AwareDatetime
    before: int = 0

    @property
    def shared(self) -> int:
        """How many customers are settled."""
        return len(self.duplicates)


class Repaired(Frozen):
    """What is seen after a repair, and with what Stripe said."""

    at: AwareDatetime
    tables: tuple[TableDrift, ...] = ()
    left: tuple[str, ...] = ()  #: rows that still differ
    left_rows: int = 0  #: how many those are
    moving: tuple[str, ...] = ()  #: objects that changed in Stripe since the comparison, and are not yet so here
    moving_rows: int = 0
    duplicates: tuple[Duplicate, ...] = ()
    audited: int = 0  #: rows of this run in salvor.stripe_changes


class Change(Frozen):
    """How many changes of a run are in one table, and how many of them stand."""

    table: str
    stands: int  #: the row is as the run left it
    given_back: int  #: the row is as it was before the run
    moved: tuple[str, ...] = ()  #: rows that were changed again since: left alone
    moved_rows: int = 0  #: how many those are; not all may be named


class Changes(Frozen):
    """What a run changed."""

    resource: str
    at: AwareDatetime
    run_id: str
    audit: bool = True  #: there is an audit at all
    tables: tuple[Change, ...] = ()

    @property
    def stands(self) -> int:
        """How many changes can be given back."""
        return sum(each.stands for each in self.tables)

    @property
    def moved_rows(self) -> int:
        """How many rows are left alone."""
        return sum(each.moved_rows for each in self.tables)

    @property
    def moved(self) -> tuple[str, ...]:
        """Name the first rows that are left alone."""
        return tuple(f"{each.table} {row}" for each in self.tables for row in each.moved)


class UndoPlan(Plan):
    """Which run's changes are given back."""

    volatile: ClassVar[frozenset[str]] = frozenset({"moved", "moved_rows"})

    run_id: str
    tables: tuple[str, ...]
    changes: int
    moved: tuple[str, ...] = ()
    moved_rows: int = 0
