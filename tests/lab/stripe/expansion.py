"""`expand`: the object instead of its id, and the payments of an invoice."""

from __future__ import annotations

from typing import Any

import orjson

from tests.lab.stripe.collection import Object
from tests.lab.stripe.refusal import StripeRefusal
from tests.lab.stripe.shapes import listed
from tests.lab.stripe.universe import Universe

#: Fields that hold an id, and of what.
FIELDS = {
    "customer": "customer",
    "subscription": "subscription",
    "latest_invoice": "invoice",
    "invoice": "invoice",
    "payment_intent": "payment_intent",
    "latest_charge": "charge",
    "charge": "charge",
}


def expand(universe: Universe, o: Object, paths: list[str]) -> Object:
    """Expand PATHS (`latest_charge`, `payments`, `latest_invoice.payments`) in a copy of an object."""
    for path in paths:
        field, _, rest = path.partition(".")
        if field == "payments" and o.get("object") == "invoice":
            o["payments"] = _payments(universe, o["id"])
        elif field not in o:
            said = f"This property cannot be expanded ({field}). You may want to try expanding a different property."
            raise StripeRefusal(400, said, param="expand[0]")
        else:
            o[field] = _expanded(universe, field, o[field])
        inner = o[field].get("data") if isinstance(o[field], dict) and rest.startswith("data.") else [o[field]]
        for each in inner or []:
            if rest and isinstance(each, dict):
                expand(universe, each, [rest.removeprefix("data.")])
    return o


def _expanded(universe: Universe, field: str, value: Any) -> Any:
    if not isinstance(value, str) or field not in FIELDS:
        return value
    held = universe[FIELDS[field]]
    ordinal = held.ordinal(value)
    if ordinal is None:
        return value
    if held.gone(value):
        return {"id": value, "object": FIELDS[field], "deleted": True}
    return orjson.loads(held.written(ordinal))


def _payments(universe: Universe, invoice: str) -> Object:
    links = universe["invoice_payment"]
    rows = [orjson.loads(links.written(ordinal)) for ordinal in links.children("invoice", invoice)]
    return listed(f"/v1/invoice_payments?invoice={invoice}", rows)
