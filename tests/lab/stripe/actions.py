"""Everything that can happen, by the name the control door knows it by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.lab.stripe import billing, payments
from tests.lab.stripe.collection import Object
from tests.lab.stripe.universe import Universe

Action = Callable[..., Object]


def emit(universe: Universe, type: str, about: Object) -> Object:  # noqa: A002 - Stripe calls it so
    """Stripe tells about something that the lab does not model: a type that nobody knows, an object without id."""
    universe.emit(type, about)
    return about


def emit_thin(universe: Universe, type: str, data: Object, related: Object | None = None) -> Object:  # noqa: A002 - the same
    """Stripe tells about something in a thin event."""
    return universe.emit_thin(type, data, related)


def touch(universe: Universe, object: str, id: str, type: str, note: str) -> Object:  # noqa: A002 - the same
    """Somebody writes a note onto an object, and Stripe tells about it by an event of this type."""
    return billing.change(universe, universe.find(object, id), type, metadata={"note": note})


def vanish(universe: Universe, kind: str, id: str) -> Object:  # noqa: A002 - the same
    """The object is not there any more, not even as a deleted one, and nobody is told."""
    universe[kind].forget(id)
    return {"id": id}


ACTIONS: dict[str, Action] = {
    "customer.create": billing.create_customer,
    "customer.update": billing.update_customer,
    "customer.delete": billing.delete_customer,
    "subscription.create": billing.create_subscription,
    "subscription.update": billing.update_subscription,
    "subscription.add_items": billing.add_items,
    "subscription.cancel": billing.cancel,
    "subscription.cancel_at_period_end": billing.cancel_at_period_end,
    "subscription.pause_collection": billing.pause_collection,
    "subscription.resume_collection": billing.resume_collection,
    "subscription.pause": billing.pause,
    "subscription.resume": billing.resume,
    "subscription.set_status": billing.set_status,
    "subscription.renew": billing.renew,
    "invoice.create": payments.create_invoice,
    "invoice.finalize": payments.finalize,
    "invoice.pay": payments.pay,
    "invoice.void": payments.void,
    "invoice.mark_uncollectible": payments.mark_uncollectible,
    "payment.create": payments.create_payment,
    "payment.cancel": payments.cancel_payment,
    "charge.refund": payments.refund,
    "event.emit": emit,
    "event.emit_thin": emit_thin,
    "object.touch": touch,
    "object.vanish": vanish,
}


def act(universe: Universe, kind: str, *, at: int | None = None, generated: bool = True, **given: Any) -> Object:
    """Let something happen, AT a moment; with GENERATED off, Stripe fails to generate the events."""
    if kind not in ACTIONS:
        raise ValueError(f"Nothing is called {kind!r}; there are {', '.join(ACTIONS)}.")
    clock = universe.world.clock
    stopped, clock.stopped_at = clock.stopped_at, at if at is not None else clock.stopped_at
    universe.generating = generated
    try:
        return ACTIONS[kind](universe, **given)
    finally:
        clock.stopped_at, universe.generating = stopped, True
