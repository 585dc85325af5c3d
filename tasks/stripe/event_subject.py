"""What an event is about: the row of ours that it concerns, and the events that concern the same row. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tasks.stripe.replay_state import Event, Group, Named

#: The row that an object of Stripe changes: its table, and the fields that lead to the row's id.
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "customer": ("customers", ("id",)),
    "subscription": ("subscriptions", ("id",)),
    "invoice": ("invoices", ("id",)),
    "payment_intent": ("payments", ("id",)),
    "charge": ("payments", ("payment_intent",)),
    "refund": ("payments", ("payment_intent",)),
    "invoice_payment": ("payments", ("payment", "payment_intent")),
}
THIN = "v2.core.event"
NEVER_MADE = "v2.core.health.event_generation_failure.resolved"


def row_of(thing: Mapping[str, Any]) -> tuple[str, str]:
    """Say which table and row an object concerns; the table is empty when that is none of ours."""
    table, path = ROWS.get(str(thing.get("object")), ("", ("id",)))
    found: Any = thing
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    found = found.get("id") if isinstance(found, Mapping) else found
    return (table, str(found)) if table and found else ("", str(found or ""))


def about(body: Mapping[str, Any]) -> tuple[str, str]:
    """Say which table and row an event is about; a thin one names its object, and does not show it."""
    if body.get("object") != THIN:
        return row_of((body.get("data") or {}).get("object") or {})
    related = body.get("related_object") or {}
    return row_of({"object": related.get("type"), "id": related.get("id")})


def named_in(body: Mapping[str, Any]) -> tuple[Named, ...]:
    """List the objects whose events Stripe says it could never make."""
    if body.get("type") != NEVER_MADE:
        return ()
    return tuple(sorted(set(_related(body.get("data"), ""))))


def _related(value: object, context: str) -> Iterator[Named]:
    if isinstance(value, Mapping):
        within = str(value.get("context") or context)  # the connected account that the object is of
        for name, each in value.items():
            if name == "related_object" and isinstance(each, Mapping) and each.get("type") in ROWS and each.get("id"):
                yield (within, str(each["type"]), str(each["id"]))
            else:
                yield from _related(each, within)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _related(each, context)


def grouped(events: Iterable[Event]) -> tuple[Group, ...]:
    """Put the events of one object together, in the order of their making (which decides nothing)."""
    groups: dict[tuple[str, str, str], dict[str, Event]] = defaultdict(dict)
    for event in events:
        key = event.key if event.table else (event.account, "", event.id)
        groups[key][event.id] = event
    return tuple(
        Group(*key, events=tuple(sorted(found.values(), key=lambda e: (e.created, e.id))))
        for key, found in sorted(groups.items())
    )
