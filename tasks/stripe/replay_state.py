"""What a replay sees of events and objects, and what it plans. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from tasks.model import Frozen, Plan

Mode = Literal["apply", "post"]
Answer = Literal["received", "done"]
#: An object: the connected account it is of (empty: ours), its kind as Stripe says, its id.
Named = tuple[str, str, str]
#: Statuses that an event never leaves by itself.
DONE = frozenset({"processed", "superseded"})
SET_ASIDE = frozenset({"skipped"})
GIVEN_UP = frozenset({"dead"})
ENDED = DONE | SET_ASIDE | GIVEN_UP
#: Ends of an object: no event leads out of them.
ABSORBING: dict[str, tuple[str, ...]] = {
    "subscriptions": ("canceled", "incomplete_expired"),
    "invoices": ("paid", "void"),
}


def effects_by_type(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Give the effects of each type of event."""
    found: dict[str, tuple[str, ...]] = {}
    for kind, name in pairs:
        found[kind] = (*found.get(kind, ()), name)
    return found


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
    named: tuple[Named, ...] = ()  #: objects whose events Stripe could not make

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


class Backlog:
    """What is to be done. No tuple or dataclass: Prefect would look into each of thousands of events."""

    def __init__(self, seen: Seen, events: Sequence[Event] = ()) -> None:
        """Keep what was seen of the window, and the events of it that nobody has done."""
        self.seen, self.events = seen, tuple(events)


class Seen(Frozen):
    """One look at the window: how many events there are, and what our ledger says of them."""

    resource: str
    at: float
    since: float
    until: float
    stripe: int = 0  #: events of the window that Stripe has
    own: int = 0  #: open rows of ours that Stripe did not show: they are older
    undelivered: int = 0  #: of which Stripe says that an endpoint has not taken them: a hint, never the truth
    already: int = 0
    aside: int = 0
    dead: int = 0
    left_alone: int = 0  #: just received, or its key may not look: not for this run
    cut: bool = False  #: the listing stopped, because there were too many
    thin: str = ""  #: why Stripe's thin (v2) events were not looked at; empty when they were
    problems: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  #: types that are none of ours


class ReplayPlan(Plan):
    """Which events are done, by which way."""

    volatile: ClassVar[frozenset[str]] = frozenset(
        {"key", "since", "until", "stripe", "own", "already", "aside", "dead", "left_alone", "undelivered", "thin"}
    )

    since: float
    until: float
    stripe: int
    own: int
    undelivered: int
    already: int
    aside: int
    dead: int
    left_alone: int
    events: int  #: to do
    new: int  #: of them never received
    objects: int
    events_digest: str
    mode: Mode
    endpoint_url: str
    answer_means: Answer
    effects: tuple[tuple[str, str], ...]
    attempts: int
    at_once: bool
    workers: int
    wait_seconds: int
    by_type: tuple[tuple[str, int], ...] = ()
    unknown: tuple[str, ...] = ()
    thin: str = ""


class Tally(Frozen):
    """What the ledger says afterwards of the events of the plan and of the window."""

    seen: int
    applied: int
    already: int
    superseded: int
    skipped: int
    dead: int
    waiting: int
    left_alone: int = 0
    effects_due: int = 0
    effects: int = 0
