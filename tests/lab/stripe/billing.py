"""What happens to customers and subscriptions, with the events that Stripe tells about it."""

from __future__ import annotations

from typing import Any

from tests.lab.stripe import payments, shapes
from tests.lab.stripe.collection import Object
from tests.lab.stripe.shapes import AMOUNT, DAY, MONTH
from tests.lab.stripe.universe import Universe

ENDED = ("canceled", "incomplete_expired")
UPDATED = "customer.subscription.updated"


def change(universe: Universe, stored: Object, type_: str, **fields: Any) -> Object:
    """Change fields of an object and tell about it, with the values they had."""
    previous = {name: stored.get(name) for name, value in fields.items() if stored.get(name) != value}
    stored.update(fields)
    universe.put(stored["object"], stored)
    universe.emit(type_, stored, previous)
    return stored


# --- customers


def create_customer(universe: Universe, **fields: Any) -> Object:
    """Somebody signs up."""
    id_ = fields.pop("id", None) or universe.new_id("customer")
    user = fields.pop("user_id", None)
    metadata = fields.pop("metadata", None) or ({} if user is None else {"user_id": str(user)})
    fields.setdefault("email", f"{id_}@example.com")
    made = shapes.customer(id_, universe.now(), livemode=universe.livemode, metadata=metadata, **fields)
    universe.put("customer", made)
    universe.emit("customer.created", made)
    return made


def update_customer(universe: Universe, customer: str, **fields: Any) -> Object:
    """Something about the customer changes."""
    return change(universe, universe.find("customer", customer), "customer.updated", **fields)


def delete_customer(universe: Universe, customer: str) -> Object:
    """The customer is deleted, and the subscriptions end with it."""
    stored = universe.find("customer", customer)
    subscriptions = universe["subscription"]
    for ordinal in subscriptions.children("customer", customer):
        held = subscriptions.at(ordinal)
        if held["status"] not in ENDED:
            cancel(universe, held["id"])
    universe["customer"].remove(customer)
    universe.emit("customer.deleted", stored)
    return {"id": customer, "object": "customer", "deleted": True}


# --- subscriptions


def create_subscription(  # noqa: PLR0913 - each is one choice
    universe: Universe,
    customer: str,
    *,
    price: str = "price_basic",
    quantity: int = 1,
    items: int = 1,
    amount: int = AMOUNT,
    trial_days: int = 0,
    payment: str = "succeeds",
    **fields: Any,
) -> Object:
    """A customer subscribes and pays; a payment that fails leaves it incomplete."""
    owner, now, id_ = universe.find("customer", customer), universe.now(), universe.new_id("subscription")
    currency = fields.pop("currency", None) or owner["currency"] or "usd"
    end = now + (trial_days * DAY or MONTH)
    rows = [_item(universe, id_, currency, amount, f"{price}{n or ''}", quantity, now, end) for n in range(items)]
    status = "trialing" if trial_days else "active" if payment == "succeeds" else "incomplete"
    if trial_days:
        fields |= {"trial_start": now, "trial_end": end}
    made = shapes.subscription(id_, now, customer, status, currency, rows, livemode=universe.livemode, **fields)
    universe.put("subscription", made)
    universe.emit("customer.subscription.created", made)
    payments.bill(universe, made, 0 if trial_days else amount * quantity * items, "subscription_create", payment)
    return made


def _item(  # noqa: PLR0913, PLR0917 - what an item is
    universe: Universe, of: str, currency: str, amount: int, price: str, quantity: int, start: int, end: int
) -> Object:
    priced = shapes.price(price, start, currency, amount, livemode=universe.livemode)
    return shapes.item(universe.new_id("subscription_item"), start, priced, of, start, end, quantity)


def update_subscription(universe: Universe, subscription: str, **fields: Any) -> Object:
    """The plan, the number of seats or anything else changes."""
    stored = universe.find("subscription", subscription)
    wanted = {name: fields.pop(name) for name in ("price", "quantity") if name in fields}
    first, *others = stored["items"]["data"]
    if "price" in wanted:
        priced = first["price"] | {"id": wanted["price"]}
        first = first | {"price": priced, "plan": first["plan"] | {"id": wanted["price"]}}
    if "quantity" in wanted:
        first = first | {"quantity": wanted["quantity"]}
    if wanted:
        fields["items"] = stored["items"] | {"data": [first, *others]}
    return change(universe, stored, UPDATED, **fields)


def add_items(universe: Universe, subscription: str, count: int = 1, days: int = 365) -> Object:
    """More items, of another rhythm: their period ends after DAYS."""
    stored, now = universe.find("subscription", subscription), universe.now()
    have = stored["items"]["data"]
    more = [
        _item(
            universe, subscription, stored["currency"], AMOUNT, f"price_more{len(have) + n}", 1, now, now + days * DAY
        )
        for n in range(count)
    ]
    return change(universe, stored, UPDATED, items=stored["items"] | {"data": [*have, *more]})


def cancel(universe: Universe, subscription: str) -> Object:
    """It ends now."""
    stored, now = universe.find("subscription", subscription), universe.now()
    fields = {"status": "canceled", "canceled_at": now, "ended_at": now}
    stored |= fields
    universe.put("subscription", stored)
    universe.emit("customer.subscription.deleted", stored)
    return stored


def cancel_at_period_end(universe: Universe, subscription: str, *, on: bool = True) -> Object:
    """It will end when the period does, or will not after all."""
    return update_subscription(universe, subscription, cancel_at_period_end=on)


def pause_collection(universe: Universe, subscription: str, behavior: str = "void") -> Object:
    """No invoice is collected; the status stays what it was."""
    return update_subscription(universe, subscription, pause_collection={"behavior": behavior, "resumes_at": None})


def resume_collection(universe: Universe, subscription: str) -> Object:
    """Invoices are collected again."""
    return update_subscription(universe, subscription, pause_collection=None)


def pause(universe: Universe, subscription: str) -> Object:
    """A trial ended without a payment method: the status is `paused`."""
    return change(
        universe, universe.find("subscription", subscription), "customer.subscription.paused", status="paused"
    )


def resume(universe: Universe, subscription: str) -> Object:
    """It is active again."""
    return change(
        universe, universe.find("subscription", subscription), "customer.subscription.resumed", status="active"
    )


def set_status(universe: Universe, subscription: str, status: str) -> Object:
    """It has a status, perhaps one that nobody knows yet."""
    return change(universe, universe.find("subscription", subscription), UPDATED, status=status)


def renew(universe: Universe, subscription: str, payment: str = "succeeds") -> Object:
    """A new period begins and is billed; a payment that fails leaves it past due."""
    stored = universe.find("subscription", subscription)
    rows = [
        each
        | {"current_period_start": each["current_period_end"], "current_period_end": each["current_period_end"] + MONTH}
        for each in stored["items"]["data"]
    ]
    amount = sum(each["price"]["unit_amount"] * each["quantity"] for each in rows)
    status = "active" if payment == "succeeds" else "past_due"
    change(universe, stored, UPDATED, items=stored["items"] | {"data": rows}, status=status)
    payments.bill(universe, stored, amount, "subscription_cycle", payment)
    return stored
