"""The form of a requeue, the dead letters it sees, and its plan. Pure."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from tasks.model import Frozen, Plan, Policy


class RequeuePolicy(Policy):
    """Which dead letters get all their attempts again."""

    ids: tuple[str, ...] = Field(default=(), description="Only these events (evt_…). Empty: any.")
    types: tuple[str, ...] = Field(default=(), description="Only events of these types. Empty: any.")
    classes: tuple[str, ...] = Field(
        default=(), description="Only these classes of error: transient, permanent, effect. Empty: any."
    )
    skipped: bool = Field(default=False, description="On: also events that were set aside as none of ours.")
    max_events: int = Field(default=1000, ge=1, le=1_000_000, description="How many at most in one run.")
    min_interval_seconds: int = Field(
        default=0, ge=0, le=86_400, description="Flap breaker: 0 allows a requeue right after another."
    )


class Letter(Frozen):
    """One event that was given up."""

    account: str
    event_id: str
    type: str
    attempts: int = 0
    error_class: str | None = None
    error: str | None = None
    object_id: str | None = None


class RequeuePlan(Plan):
    """Which events are put back."""

    volatile: ClassVar[frozenset[str]] = frozenset({"key"})

    letters: tuple[tuple[str, str], ...]  #: account and event
    count: int
