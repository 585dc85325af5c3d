"""What a replay sees of events and objects, its form, and what it plans. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field

from tasks.model import Frozen, Plan, Policy

Mode = Literal["apply", "post"]
Answer = Literal["received", "done"]
#: Statuses that an event never leaves by itself.
DONE = frozenset({"processed", "superseded"})
SET_ASIDE = frozenset({"skipped"})
HORIZON_HOURS = 720  #: Stripe keeps events for 30 days
OVERLAP_SECONDS = 600  #: the clock of Stripe is not ours
#: Ends of an object: no event leads out of them.
ABSORBING: dict[str, tuple[str, ...]] = {
    "subscriptions": ("canceled", "incomplete_expired"),
    "invoices": ("paid", "void"),
}
EFFECTS = (
    "customer.subscription.created=grant-access",
    "customer.subscription.deleted=revoke-access",
    "invoice.paid=send-receipt",
    "invoice.payment_failed=send-reminder",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as Stripe or our ledger has it."""

    account: str
    id: str
    type: str
    table: str  #: of the object it is about; empty when that is none of ours
    object_id: str
    created: float
    api_version: str
    livemode: bool
    payload: str
    status: str = ""  #: in our ledger; empty when it was never seen
    attempts: int = 0
    named: tuple[tuple[str, str], ...] = ()  #: objects whose events Stripe could not make: (table, id)

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is grouped by: one object of one account."""
        return (self.account, self.table, self.object_id)


@dataclass(frozen=True, slots=True)
class Group:
    """All events of one object; they are done together, after one look at it."""

    account: str
    table: str
    object_id: str
    events: tuple[Event, ...]


class Look:
    """What was seen of a window, with its events. No tuple or dataclass: Prefect would look into each of thousands."""

    def __init__(self, seen: Seen, events: Sequence[Event] = ()) -> None:
        """Keep both."""
        self.seen, self.events = seen, tuple(events)


class Seen(Frozen):
    """One look at the window: how many events there are, and what our ledger says of them. The events go beside it."""

    resource: str
    at: float
    since: float
    until: float
    stripe: int = 0  #: events of the window that Stripe has
    undelivered: int = 0  #: of which Stripe says that an endpoint has not taken them
    already: int = 0
    aside: int = 0
    dead: int = 0
    held: int = 0  #: somebody is at work on them
    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  #: types that are none of ours


class ReplayPolicy(Policy):
    """Which events are brought to their effect, and how."""

    hours: float = Field(
        default=6, gt=0, le=24 * 365, description="How many hours back. Stripe keeps events for 720 hours (30 days)."
    )
    settle_seconds: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Leave events alone that are younger: Stripe is still delivering them the first time.",
    )
    types: tuple[str, ...] = Field(
        default=(), description="Only events of these types, e.g. invoice.paid; at most 20. Empty: all types."
    )
    attempts: int = Field(
        default=5, ge=1, le=100, description="After so many failures an event is a dead letter: see stripe-requeue."
    )
    mode: Mode = Field(
        default="apply",
        description="apply: look the object up and write it into the application's tables. post: send the event, "
        "signed anew, to the application's own endpoint.",
    )
    endpoint_url: str = Field(default="", description="For post: where the application takes webhooks.")
    answer_means: Answer = Field(
        default="received",
        description="For post: what a 2xx of the endpoint means. received: it has kept the event, and ends it in the "
        "table of events when it is done. done: it has handled the event; it knows nothing of that table.",
    )
    effects: tuple[str, ...] = Field(
        default=EFFECTS,
        description="What is entered in the table of effects, once for each event: type=effect, e.g. "
        "invoice.paid=send-receipt.",
    )
    max_events: int = Field(
        default=100_000, ge=1, le=10_000_000, description="Refuse when more events than this would be replayed."
    )
    workers: int = Field(default=8, ge=1, le=64, description="How many objects are worked on at once.")
    wait_seconds: int = Field(
        default=30, ge=0, le=3600, description="How long to wait in all for events that are to be tried again."
    )
    min_interval_seconds: int = Field(
        default=0, ge=0, le=86_400, description="Flap breaker: 0 allows a replay right after another."
    )
    timeout_seconds: int = Field(
        default=7200, ge=10, le=86_400, description="How many seconds the run may take, an approval not counted."
    )


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


class ReplayPlan(Plan):
    """Which events are done, by which way."""

    volatile: ClassVar[frozenset[str]] = frozenset({"key", "since", "until", "stripe", "already", "undelivered"})

    since: float
    until: float
    stripe: int
    undelivered: int
    already: int
    events: int  #: to do
    new: int  #: of them never received
    objects: int
    skipped: int  #: to be set aside
    events_digest: str
    mode: Mode
    endpoint_url: str
    answer_means: Answer
    effects: tuple[tuple[str, str], ...]
    attempts: int
    workers: int
    wait_seconds: int
    by_type: tuple[tuple[str, int], ...] = ()
    unknown: tuple[str, ...] = ()


class Tally(Frozen):
    """What the ledger says afterwards of the events of the plan and of the window."""

    seen: int
    applied: int
    already: int
    superseded: int
    skipped: int
    dead: int
    waiting: int
    effects_due: int = 0
    effects: int = 0


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
