"""What a repair and its undo plan, did and left. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from tasks.consistency.repair_policies import Limits
from tasks.consistency.state import Seen
from tasks.model import Frozen, Plan


class Faults(Frozen):
    """A look whose rows are kept in the ledger, for a repair."""

    seen: Seen
    run_id: str  #: under which the rows are kept
    followers: dict[str, int] = Field(default_factory=dict)  #: rule, and rows that become wrong by the repair itself
    fences: dict[str, str] = Field(default_factory=dict)  #: rule, and what is added for it
    bytes_per_row: dict[str, float] = Field(default_factory=dict)
    missing_right: str = ""
    unfinished: dict[str, int] | None = None  #: what a run that died was allowed, of exactly these rules
    goes_on_for: tuple[str, ...] = ()  #: the runs that died, whose work this one goes on with, the newest first


class PlannedRule(Frozen):
    """What is done for one rule."""

    rule: str
    does: str
    rows: int
    followers: int = 0
    share: float = 0.0
    fence: str = ""
    samples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    wal_mb: float = 0.0


class RepairPlan(Plan):
    """Which rules are repaired, and how gently."""

    volatile: ClassVar[frozenset[str]] = frozenset({"rules", "look", "rows", "seen_at", "goes_on_for"})

    definition: str = Field(description="Identifies the rules by everything they say.")
    look: str = Field(description="The run under which the rows to be changed are kept in the ledger.")
    goes_on_for: tuple[str, ...] = Field(
        default=(), description="The runs that died, whose work this one goes on with; the newest first."
    )
    seen_at: datetime
    rows: int
    most: dict[str, int] = Field(description="Of each rule, how many rows may be changed.")
    limits: Limits
    rules: tuple[PlannedRule, ...]

    @property
    def fences(self) -> str:
        """Name what is added, for a sentence."""
        return ", ".join(each.fence for each in self.rules if each.fence) or "none"

    @property
    def fenced(self) -> tuple[str, ...]:
        """Name the rules that get a fence."""
        return tuple(each.rule for each in self.rules if each.fence)


class Account(Frozen):
    """What became of the rows of one rule: found = changed + changed meanwhile + skipped."""

    rule: str
    found: int = 0
    repaired: int = 0  #: got other values
    quarantined: int = 0
    deleted: int = 0
    meanwhile: int = 0  #: put right, or gone, before it was their turn
    skipped: int = 0  #: left as they are
    why: tuple[str, ...] = ()  #: why they were

    @property
    def balanced(self) -> bool:
        """Whether no row is unaccounted for."""
        return self.found == self.repaired + self.quarantined + self.deleted + self.meanwhile + self.skipped

    @property
    def changed(self) -> int:
        """Count the rows that are other than before."""
        return self.repaired + self.quarantined + self.deleted


class Repaired(Frozen):
    """How it is after a repair."""

    accounts: tuple[Account, ...]
    still_wrong: dict[str, int]  #: of the rows that were to be repaired, by a fresh look
    newly_wrong: dict[str, int]  #: by the same look, rows that the plan did not know
    unseen: tuple[str, ...] = ()
    fences: dict[str, bool] = Field(default_factory=dict)  #: of each fence, whether it holds for every row
    seconds: float = 0.0


class Standing(Frozen):
    """What of one rule's changes stands."""

    rule: str
    stands: int = 0  #: as the run left it
    given_back: int = 0
    moved: int = 0  #: somebody changed it again since, or took its place
    moved_rows: tuple[str, ...] = ()
    differs: int = 0  #: given back just now, and not as it was: a trigger, or somebody else, changed it
    differing_rows: tuple[str, ...] = ()
    gone: int = 0  #: deleted without a copy


class Changes(Frozen):
    """What a run changed, and what of it stands."""

    resource: str
    at: datetime
    run_id: str
    known: tuple[str, ...] = ()  #: every rule that the run had to do with
    rules: tuple[Standing, ...] = ()
    fences: tuple[str, ...] = ()  #: that the run added and that are still there
    triggers: tuple[str, ...] = ()  #: of the tables, which fire when rows are given back

    @property
    def stands(self) -> int:
        """Count the rows that are as the run left them."""
        return sum(each.stands for each in self.rules)


class UndoPlan(Plan):
    """Whose changes are given back."""

    volatile: ClassVar[frozenset[str]] = frozenset({"changes"})

    run_id: str
    rules: tuple[str, ...]
    changes: int
    fences: tuple[str, ...] = ()

    @property
    def taken_away(self) -> str:
        """Name the fences, for a sentence."""
        return ", ".join(self.fences) or "none"
