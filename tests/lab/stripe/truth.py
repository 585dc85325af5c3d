"""What the shop's tables must say, computed from what Stripe holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.lab.stripe.collection import Object
from tests.lab.stripe.universe import Universe

Row = dict[str, Any]


def customers(_: Universe, o: Object) -> Row:
    """A row of `customers`."""
    user = o["metadata"].get("user_id")
    return {
        "user_id": int(user) if user else None,
        "email": o["email"],
        "currency": o["currency"],
        "delinquent": o["delinquent"],
    }


def subscriptions(_: Universe, o: Object) -> Row:
    """A row of `subscriptions`: the period ends with the first item that ends, and starts with the last that starts."""
    items = o["items"]["data"]
    first = items[0] if items else {"price": {"id": None}, "quantity": None}
    return {
        "customer_id": o["customer"],
        "status": o["status"],
        "price_id": first["price"]["id"],
        "quantity": first["quantity"],
        "current_period_start": max((each["current_period_start"] for each in items), default=None),
        "current_period_end": min((each["current_period_end"] for each in items), default=None),
        "cancel_at_period_end": o["cancel_at_period_end"],
        "paused": o["pause_collection"] is not None,
    }


def invoices(_: Universe, o: Object) -> Row:
    """A row of `invoices`."""
    parent = o["parent"]
    return {
        "customer_id": o["customer"],
        "subscription_id": parent["subscription_details"]["subscription"] if parent else None,
        "status": o["status"],
        "currency": o["currency"],
        "amount_due": o["amount_due"],
        "amount_paid": o["amount_paid"],
    }


def payments(universe: Universe, o: Object) -> Row:
    """A row of `payments`: its invoice is known by the invoice payment, its refunds by the charge."""
    links = universe["invoice_payment"]
    link = next((links.at(ordinal) for ordinal in links.children("payment_intent", o["id"])), None)
    charge = universe["charge"].get(o["latest_charge"] or "")
    return {
        "customer_id": o["customer"],
        "invoice_id": link["invoice"] if link else None,
        "status": o["status"],
        "currency": o["currency"],
        "amount": o["amount"],
        "amount_received": o["amount_received"],
        "charge_id": o["latest_charge"],
        "refunded_amount": charge["amount_refunded"] if charge else 0,
    }


TABLES: dict[str, tuple[str, Callable[[Universe, Object], Row]]] = {
    "customers": ("customer", customers),
    "subscriptions": ("subscription", subscriptions),
    "invoices": ("invoice", invoices),
    "payments": ("payment_intent", payments),
}


def rows(universe: Universe, table: str) -> Iterator[Row]:
    """Give the rows of a table, oldest first; what was deleted has none."""
    kind, project = TABLES[table]
    held = universe[kind]
    for ordinal in held.live():
        o = held.at(ordinal)
        yield {"id": o["id"], **project(universe, o), "livemode": o["livemode"], "created_at": o["created"]}
