"""What the ledger says and is told, as frozen values."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Record(BaseModel):
    """A value read from the ledger or written to it."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class NewRun(Record):
    """A run that announces itself."""

    flow_run_id: str
    procedure: str
    target: str
    deployment_id: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    requested_by: str = ""
    alert: str = ""
    dry_run: bool = False
    max_attempts: int = 3
    timeout_seconds: int = 300
    resumes: str | None = None  #: the ledger id of the dead run that this one goes on for


class Run(Record):
    """One run of a procedure, as the ledger knows it."""

    id: str
    flow_run_id: str
    procedure: str
    deployment_id: str | None
    target: str
    parameters: dict[str, Any]
    requested_by: str
    alert: str
    dry_run: bool
    attempt: int
    max_attempts: int
    resumes: str | None
    resource: str | None
    key: str | None
    token: int | None
    started_at: datetime
    heartbeat_until: datetime
    timeout_seconds: int
    deadline_at: datetime | None
    changed_at: datetime | None  #: when its first real change began
    ended_at: datetime | None
    outcome: str | None
    why: str
    report: dict[str, Any] | None
    markdown: str  #: the report as it is shown
    reported_at: datetime | None  #: when the report artifact was written
    swept_at: datetime | None  #: when it was found dead, or was superseded
    settled_at: datetime | None  #: when Prefect was seen to know the end

    @property
    def active(self) -> bool:
        """Whether it is neither ended nor found dead."""
        return self.ended_at is None and self.swept_at is None


class Intent(Record):
    """What a run asks the gate for."""

    resource: str
    key: str
    plan: dict[str, Any]
    digest: str
    min_interval_seconds: int = 600
    max_attempts: int = 3
    once: bool = True  #: whether an operation that was done is never done again
    approval: bool = False  #: whether a person will be asked before anything is changed


class Claimed(Record):
    """The gate said yes."""

    token: int
    attempts: int
    adopted: bool  #: an earlier run had opened this operation
    approved: bool  #: a person has already approved exactly this plan


class StepRecord(Record):
    """One act of one run."""

    id: str
    run_id: str
    name: str
    sentence: str
    started_at: datetime
    ended_at: datetime | None
    found: str
    error: str
    dry: bool
    undo: bool


class Ending(Record):
    """How a run ended."""

    outcome: str
    why: str
    report: dict[str, Any] = Field(default_factory=dict)
    markdown: str = ""
    operation: Literal["done", "failed", "abandoned"] = "abandoned"


class Notification(Record):
    """What a person is told; the body is Markdown."""

    urgency: Literal["page", "inform"]
    title: str
    body: str
    about: str = ""  #: procedure and target: what belongs together for whoever is on call
    resolves: bool = False  #: what was paged about this before is over
    resource: str = ""
    run_id: str = ""
    url: str = ""


class InboundAlert(Record):
    """One alert as it came in; (source, fingerprint, starts_at, status) is its identity."""

    source: str = Field(max_length=64)
    fingerprint: str = Field(min_length=1, max_length=255)
    starts_at: AwareDatetime
    status: Literal["firing", "resolved"]
    name: str = ""
    severity: str = ""
    procedure: str = ""
    target: str = ""
    payload: dict[str, Any] = Field(default_factory=dict)


class Stored(Record):
    """What became of an alert: new, or seen before."""

    new: bool
    count: int


class Parcel(Record):
    """Something that must reach another system, kept until it did."""

    id: int
    kind: Literal["event", "notification", "run"]
    key: str
    payload: dict[str, Any]
    attempts: int
    last_error: str
    created_at: datetime


class Position(Record):
    """How far a primary had written when it was last seen."""

    resource: str
    node: str
    lsn: int
    timeline: int
    synchronous_standby_names: str = ""
    streaming: tuple[str, ...] = ()
    at: AwareDatetime


class Hold(Record):
    """Nothing is started on this resource from `starts_at` until `until`."""

    resource: str
    starts_at: datetime
    until: datetime
    reason: str
    placed_by: str
    placed_at: datetime
