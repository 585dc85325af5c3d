"""What every procedure is made of: policy, plan, decision, evidence, report. Pure: no clock, no I/O, no Prefect."""

from __future__ import annotations

import json
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny


class Outcome(StrEnum):
    """How a run ended. The value is the name of the Prefect state."""

    RECOVERED = "Recovered"  #: all evidence holds
    NOTHING_TO_DO = "NothingToDo"  #: the world was already right
    REFUSED = "Refused"  #: a guard said no, or we could not see; nothing changed
    UNVERIFIED = "Unverified"  #: we acted; some evidence does not hold
    NEEDS_HUMAN = "NeedsHuman"  #: past the gate, and we do not know where we stopped

    @property
    def succeeded(self) -> bool:
        """Whether the Prefect state is COMPLETED rather than FAILED."""
        return self in (Outcome.RECOVERED, Outcome.NOTHING_TO_DO)


class Frozen(BaseModel):
    """A value: it is compared, stored and sent, never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


#: At the end of every form: set once for a target, if ever.
SELDOM_CHANGED = ("approval_seconds", "min_interval_seconds", "timeout_seconds", "max_attempts")


def number_fields(schema: dict[str, Any]) -> None:
    """Give the fields the order in which a person wants them: Prefect's UI sorts the form by `position`."""
    fields = schema.get("properties", {})
    last = [name for name in SELDOM_CHANGED if name in fields]
    for position, name in enumerate([name for name in fields if name not in last] + last):
        fields[name]["position"] = position


class Policy(Frozen):
    """The part of the run form that every procedure has."""

    model_config = ConfigDict(json_schema_extra=number_fields)

    #: The procedure only reads: it has no gate, and wakes nobody.
    looks: ClassVar[bool] = False

    dry_run: bool = Field(
        default=False,
        description="On: look, decide and write the report, but change nothing. Off: do it.",
    )
    approval: Literal["auto", "person"] = Field(
        default="auto",
        description="auto: go on when every guard agrees; a person is asked only where no proof can be had, as of a "
        "fence. person: always wait until somebody other than the requester approves the plan.",
    )
    approval_seconds: int = Field(
        default=900,
        ge=5,
        le=86_400,
        description="How many seconds to wait for an approval. Then nothing is done, and on-call is paged.",
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=10,
        description="How often this is tried in all, when a run dies half-way, before a person is called.",
    )
    min_interval_seconds: int = Field(
        default=600,
        ge=0,
        le=86_400,
        description="Flap breaker: refuse when this procedure changed the same target less than so many seconds ago. "
        "0 allows it at once.",
    )
    timeout_seconds: int = Field(
        default=300,
        ge=10,
        le=86_400,
        description="How many seconds the run may take, the wait for an approval not counted. Past that no further "
        "step is begun.",
    )


class Plan(Frozen):
    """Everything the acts need, so that they look nothing up again."""

    #: Fields that may differ between two looks at the same world (byte counts, times); not part of the digest.
    volatile: ClassVar[frozenset[str]] = frozenset()

    resource: str = Field(description="What is recovered, e.g. recovery.postgres.orders; the lease is taken on it.")
    key: str = Field(description="Identity of the operation on the target; the same key is never done twice.")
    why: str = Field(description="Why this is the right thing to do, in one or two sentences.")
    loss: str = Field(description="What will be lost, in one sentence; said before anything is changed.")
    once: bool = Field(default=True, description="Whether the key may be done only once, ever.")
    ask: str = Field(
        default="", description="Why a person must approve this plan whatever the policy says; empty if not."
    )

    @property
    def digest(self) -> str:
        """Identify what would be done: two looks that would do the same have the same digest."""
        content = self.essence().model_dump_json(exclude=set(self.volatile | {"why", "loss", "ask"}))
        return sha256(f"{type(self).__name__}:{content}".encode()).hexdigest()[:16]

    def essence(self) -> Self:
        """Give what two looks at the same world agree on."""
        return self


P = TypeVar("P", bound=Plan)


class Decision(Frozen, Generic[P]):
    """What pure code concluded from one observation."""

    verdict: Literal["go", "nothing", "refuse"]
    why: str
    plan: P | None = None

    @classmethod
    def go(cls, plan: P) -> Self:
        """Do what PLAN says."""
        return cls(verdict="go", why=plan.why, plan=plan)

    @classmethod
    def nothing(cls, why: str) -> Self:
        """Do nothing: the world is already right."""
        return cls(verdict="nothing", why=why)

    @classmethod
    def refuse(cls, why: str) -> Self:
        """Do nothing: a guard said no, or we could not see."""
        return cls(verdict="refuse", why=why)


class Evidence(Frozen):
    """One promise of the procedure, with what was seen afterwards."""

    claim: str
    seen: str
    holds: bool


class Step(Frozen):
    """One line of the timeline."""

    name: str
    sentence: str
    started_at: datetime
    seconds: float | None = None  #: None while it runs, and for ever when the process died in it
    found: str = ""  #: what the act found or did
    error: str = ""
    dry: bool = False  #: recorded instead of done


class Report(Frozen):
    """What a run leaves behind for the next shift and for the auditor."""

    plan: SerializeAsAny[Plan] | None = None
    evidence: tuple[Evidence, ...] = ()
    timeline: tuple[Step, ...] = ()
    figures: dict[str, float] = Field(default_factory=dict)  #: measured numbers with their unit in the name
    unverified: tuple[str, ...] = ()  #: what was NOT looked at
    outcome: Outcome | None = None
    why: str = ""
    known: bool = False  #: nothing of it is new: nobody is told
    look_at: tuple[str, ...] = ()  #: databases whose rows are looked at next, when it ended Recovered

    @property
    def seal(self) -> str:
        """Give the SHA-256 of the report's JSON, with its keys sorted and without blanks."""
        content = self.model_dump(mode="json")
        return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def holds(self) -> bool:
        """Whether there is evidence and all of it holds."""
        return bool(self.evidence) and all(e.holds for e in self.evidence)
