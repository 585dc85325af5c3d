"""The shape before 2025-03-31.basil: a subscription has the period, an invoice and its payment know each other."""

from __future__ import annotations

from typing import Any

import orjson

from tests.lab.stripe.collection import Object
from tests.lab.stripe.universe import Universe

BASIL = "2025-03-31"


def asked(version: str) -> bool:
    """Tell whether a version is older than the change."""
    return version[:10] < BASIL


def rewritten(universe: Universe, written: bytes) -> bytes:
    """Rewrite an object, or the object in an event."""
    o = orjson.loads(written)
    if o.get("object") == "event":
        o["data"]["object"] = _older(universe, o["data"]["object"])
    return orjson.dumps(_older(universe, o))


def _older(universe: Universe, o: Object) -> Object:
    change = {"subscription": _subscription, "invoice": _invoice, "payment_intent": _payment, "charge": _payment}
    kind = o.get("object")
    return change[kind](universe, o) if kind in change else o


def _subscription(_: Universe, o: Object) -> Object:
    items = o["items"]["data"]
    o["current_period_start"] = max(each["current_period_start"] for each in items)
    o["current_period_end"] = min(each["current_period_end"] for each in items)
    for each in items:
        del each["current_period_start"], each["current_period_end"]
    return o


def _invoice(universe: Universe, o: Object) -> Object:
    parent = o.pop("parent", None)
    link = _link(universe, "invoice", o["id"])
    intent = link["payment"]["payment_intent"] if link else None
    charge = (universe["payment_intent"].get(intent or "") or {}).get("latest_charge")
    subscription = parent["subscription_details"]["subscription"] if parent else None
    return o | {"payment_intent": intent, "charge": charge, "paid": o["status"] == "paid", "subscription": subscription}


def _payment(universe: Universe, o: Object) -> Object:
    intent = o["id"] if o["object"] == "payment_intent" else o["payment_intent"] or ""
    link = _link(universe, "payment_intent", intent)
    return o | {"invoice": link["invoice"] if link else None}


def _link(universe: Universe, field: str, value: str) -> dict[str, Any] | None:
    links = universe["invoice_payment"]
    return next((links.at(ordinal) for ordinal in links.children(field, value)), None)
