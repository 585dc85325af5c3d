"""What may be held, for how long, and whether it is. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import AwareDatetime, Field

from tasks.model import Decision, Evidence, Frozen, Plan, Policy

EVERYTHING = "*"


class HoldPolicy(Policy):
    """The form of a hold."""

    hours: float = Field(
        default=4,
        ge=0,
        le=24 * 60,
        description="For how many hours no recovery begins. 0 lifts the hold that is there.",
    )
    starts_in_hours: float = Field(
        default=0, ge=0, le=24 * 60, description="In how many hours the hold begins, for a planned freeze. 0 is now."
    )
    min_interval_seconds: int = Field(
        default=0, ge=0, le=86_400, description="Flap breaker; a hold may follow another at once, so leave it at 0."
    )


class Standing(Frozen):
    """One hold that is in force, or will be."""

    resource: str
    starts_at: AwareDatetime
    until: AwareDatetime
    reason: str


class Seen(Frozen):
    """The holds there are."""

    at: AwareDatetime
    holds: tuple[Standing, ...] = ()

    def on(self, target: str) -> Standing | None:
        """Give the hold on exactly this target."""
        return next((hold for hold in self.holds if hold.resource == target), None)


class Asked(Frozen):
    """What the person wants."""

    target: str
    reason: str = ""
    by: str = ""


class HoldPlan(Plan):
    """Hold a target until a moment, or lift what holds it."""

    volatile: ClassVar[frozenset[str]] = frozenset({"key", "starts_at", "until", "sentence"})

    target: str
    starts_at: AwareDatetime
    until: AwareDatetime | None  #: None: lift
    hours: float
    starts_in_hours: float
    reason: str
    by: str
    sentence: str


def decide_hold(seen: Seen, policy: HoldPolicy, asked: Asked) -> Decision[HoldPlan]:
    """Hold, lift, or say why neither."""
    if not asked.target.strip():
        return Decision.refuse("Say in target what is to be held: the name of a target, or * for everything.")
    if policy.hours == 0:
        return _lift(seen, policy, asked)
    if not asked.reason.strip():
        return Decision.refuse("Say in reason why: whoever is refused by this hold reads it.")
    start, until = _window(seen, policy)
    sentence = f"Begin nothing on {_named(asked.target)} from {_moment(start)} to {_moment(until)}: {asked.reason}"
    return Decision.go(_plan(seen, policy, asked, sentence))


def _window(seen: Seen, policy: HoldPolicy) -> tuple[datetime, datetime]:
    start = seen.at + timedelta(hours=policy.starts_in_hours)
    return start, start + timedelta(hours=policy.hours)


def _lift(seen: Seen, policy: HoldPolicy, asked: Asked) -> Decision[HoldPlan]:
    hold = seen.on(asked.target)
    if hold is None:
        return Decision.nothing(f"{_named(asked.target)} is not held.".capitalize())
    sentence = f"Lift the hold on {_named(asked.target)} that was placed because: {hold.reason}"
    return Decision.go(_plan(seen, policy, asked, sentence))


def _plan(seen: Seen, policy: HoldPolicy, asked: Asked, sentence: str) -> HoldPlan:
    start, until = _window(seen, policy)
    lifts = policy.hours == 0
    return HoldPlan(
        resource=f"recovery.hold.{asked.target}",
        key=f"{'lift' if lifts else 'hold'}-{seen.at.isoformat()}",
        why=sentence,
        loss="Nothing is lost." if lifts else "Nothing is lost; until it ends, recoveries of it are refused.",
        target=asked.target,
        starts_at=start,
        until=None if lifts else until,
        hours=policy.hours,
        starts_in_hours=policy.starts_in_hours,
        reason=asked.reason,
        by=asked.by,
        sentence=sentence,
    )


def judge_hold(plan: HoldPlan, after: Seen) -> tuple[Evidence, ...]:
    """Compare what is held with what was to be held."""
    hold = after.on(plan.target)
    seen = "no hold" if hold is None else f"held until {_moment(hold.until)}: {hold.reason}"
    if plan.until is None:
        return (Evidence(claim=f"{_named(plan.target)} is not held", seen=seen, holds=hold is None),)
    holds = hold is not None and hold.until == plan.until
    return (Evidence(claim=f"{_named(plan.target)} is held until {_moment(plan.until)}", seen=seen, holds=holds),)


def _named(target: str) -> str:
    return "everything" if target == EVERYTHING else target


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
