"""What each endpoint answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import orjson

from tests.lab.stripe import listing, older, query
from tests.lab.stripe.actions import act
from tests.lab.stripe.collection import Object
from tests.lab.stripe.expansion import expand
from tests.lab.stripe.refusal import StripeRefusal, missing, unknown_path
from tests.lab.stripe.shapes import DAY, listed
from tests.lab.stripe.universe import Universe, written_time

Params = dict[str, Any]
PLURAL = {
    "customers": "customer",
    "subscriptions": "subscription",
    "invoices": "invoice",
    "payment_intents": "payment_intent",
    "charges": "charge",
    "invoice_payments": "invoice_payment",
    "refunds": "refund",
    "events": "event",
    "webhook_endpoints": "webhook_endpoint",
}
#: Writes: the action, and the parameter that takes the id of the path.
WRITES: dict[str, tuple[str, str]] = {
    "POST /v1/customers": ("customer.create", ""),
    "POST /v1/customers/{customer}": ("customer.update", "customer"),
    "DELETE /v1/customers/{customer}": ("customer.delete", "customer"),
    "POST /v1/subscriptions/{subscription_exposed_id}": ("subscription.update", "subscription"),
    "DELETE /v1/subscriptions/{subscription_exposed_id}": ("subscription.cancel", "subscription"),
    "POST /v1/invoices/{invoice}/pay": ("invoice.pay", "invoice"),
    "POST /v1/invoices/{invoice}/void": ("invoice.void", "invoice"),
    "POST /v1/invoices/{invoice}/finalize": ("invoice.finalize", "invoice"),
    "POST /v1/payment_intents/{intent}/cancel": ("payment.cancel", "payment_intent"),
    "POST /v1/refunds": ("charge.refund", ""),
}
#: What of a write's parameters the actions understand; the rest is accepted and changes nothing.
UNDERSTOOD = {
    "customer.create": {"email", "metadata", "name"},
    "customer.update": {"email", "metadata", "name"},
    "subscription.update": {"cancel_at_period_end", "metadata"},
    "charge.refund": {"payment_intent", "charge", "amount"},
}


class Answers:
    """The read and write side of one universe."""

    def __init__(self, universe: Universe, version: str) -> None:
        """Answer for UNIVERSE, in the shape of VERSION."""
        self.universe, self.version = universe, version

    def give(self, name: str, path: str, ids: tuple[str, ...], params: Params) -> bytes:
        """Answer one valid request: NAME is its endpoint."""
        if name in WRITES:
            return self._write(name, ids, params)
        if not name.startswith("GET "):
            raise _not_modelled(name)
        special = SPECIAL.get(name)
        if special is not None:
            return special(self, ids, params)
        kind = PLURAL.get(name.split("/")[2])
        if kind is None:
            raise _not_modelled(name)
        return self._retrieve(kind, ids[0], params) if ids else self._list(kind, path, params)

    # --- reading

    def _list(self, kind: str, path: str, params: Params) -> bytes:
        chosen, more = listing.page(self.universe, kind, params)
        held = self.universe[kind]
        written = [held.written(ordinal) for ordinal in chosen]
        if wanted := [field.removeprefix("data.") for field in params.get("expand", ())]:
            written = [orjson.dumps(expand(self.universe, orjson.loads(each), wanted)) for each in written]
        if older.asked(self.version):
            written = [older.rewritten(self.universe, each) for each in written]
        head = b'{"object":"list","url":"%b","has_more":%b,"data":['
        return b"".join((head % (path.encode(), b"true" if more else b"false"), b",".join(written), b"]}"))

    def _retrieve(self, kind: str, id_: str, params: Params) -> bytes:
        held = self.universe[kind]
        ordinal = held.ordinal(id_)
        if ordinal is None or (kind == "event" and self._beyond(held.at(ordinal))):
            raise missing(kind, id_)
        if held.gone(id_):
            return orjson.dumps({"id": id_, "object": kind, "deleted": True})
        written = held.written(ordinal)
        if "expand" in params:
            written = orjson.dumps(expand(self.universe, orjson.loads(written), params["expand"]))
        return older.rewritten(self.universe, written) if older.asked(self.version) else written

    def _beyond(self, event: Object) -> bool:
        return bool(event["created"] < self.universe.now() - self.universe.world.horizon_days * DAY)

    def account(self, ids: tuple[str, ...], _: Params) -> bytes:
        """Say whose key it is."""
        if ids and ids[0] != self.universe.account:
            raise missing("account", ids[0])
        return orjson.dumps(
            {
                "id": self.universe.account,
                "object": "account",
                "business_type": None,
                "charges_enabled": True,
                "country": "US",
                "created": 1_600_000_000,
                "default_currency": "usd",
                "details_submitted": True,
                "email": "site@example.com",
                "metadata": {},
                "payouts_enabled": True,
                "type": "standard",
            }
        )

    def balance(self, _: tuple[str, ...], __: Params) -> bytes:
        """Say in which mode the key is."""
        return orjson.dumps({"object": "balance", "available": [], "pending": [], "livemode": self.universe.livemode})

    def items(self, _: tuple[str, ...], params: Params) -> bytes:
        """List the items of a subscription."""
        subscription = self.universe.find("subscription", params["subscription"], param="subscription", status=400)
        rows: list[Object] = subscription["items"]["data"]
        begin = 0
        if after := params.get("starting_after"):
            begin = next((n for n, each in enumerate(rows) if each["id"] == after), len(rows)) + 1
        end = begin + params.get("limit", 10)
        page = listed("/v1/subscription_items", rows[begin:end])
        return orjson.dumps(page | {"has_more": end < len(rows)})

    def thin_events(self, _: tuple[str, ...], params: Params) -> bytes:
        """List thin events of the last 30 days, newest first; what one carries is only shown when it is retrieved."""
        held, types, about = self.universe["thin_event"], params.get("types"), params.get("object_id")
        bounds = params.get("created", {})
        found = []
        for ordinal in reversed(list(held.live())):
            event = _shown_thin(held.at(ordinal))
            related = (event["related_object"] or {}).get("id")
            inside = all(listing.BOUNDS[bound](event["created"], value) for bound, value in bounds.items())
            if self._beyond(held.at(ordinal)):
                break
            if inside and (not types or event["type"] in types) and (not about or about == related):
                found.append(event)
        begin, limit = int(params.get("page", 0)), params.get("limit", 10)
        asked = query.write(params | {"limit": limit, "page": begin + limit})
        following = f"/v2/core/events?{asked}" if begin + limit < len(found) else None
        shown = [event | {"data": None} for event in found[begin : begin + limit]]
        return orjson.dumps({"data": shown, "next_page_url": following, "previous_page_url": None})

    def thin_event(self, ids: tuple[str, ...], _: Params) -> bytes:
        """Give one thin event."""
        stored = self.universe["thin_event"].get(ids[0])
        if stored is None:
            raise missing("v2.core.event", ids[0])
        return orjson.dumps(_shown_thin(stored))

    # --- writing

    def _write(self, name: str, ids: tuple[str, ...], params: Params) -> bytes:
        kind, field = WRITES[name]
        allowed = UNDERSTOOD.get(kind, set())
        given = {key: value for key, value in params.items() if key in allowed} | ({field: ids[0]} if field else {})
        made = act(self.universe, kind, **given)
        held = self.universe.kinds.get(made["object"])
        return orjson.dumps(made if held is None or made.get("deleted") else held.shown(made))


SPECIAL: dict[str, Callable[[Answers, tuple[str, ...], Params], bytes]] = {
    "GET /v1/account": Answers.account,
    "GET /v1/accounts/{account}": Answers.account,
    "GET /v1/balance": Answers.balance,
    "GET /v1/subscription_items": Answers.items,
    "GET /v2/core/events": Answers.thin_events,
    "GET /v2/core/events/{id}": Answers.thin_event,
}


class Idempotency:
    """What was answered to a POST is answered again to the same key; the same key with other parameters is an error."""

    def __init__(self) -> None:
        """Start without memory."""
        self._answers: dict[tuple[str, str], tuple[bytes, int, bytes]] = {}

    def recall(self, account: str, key: str, asked: bytes) -> tuple[int, bytes] | None:
        """Give the answer of the first time."""
        known = self._answers.get((account, key))
        if known is None:
            return None
        if known[0] != hashlib.sha256(asked).digest():
            said = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
                f" Key: {key}"
            )
            raise StripeRefusal(400, said, kind="idempotency_error")
        return known[1], known[2]

    def remember(self, account: str, key: str, asked: bytes, status: int, body: bytes) -> None:
        """Keep the answer, also when it is an error of Stripe's own."""
        self._answers[account, key] = (hashlib.sha256(asked).digest(), status, body)


def accepted_version(version: str) -> str:
    """Refuse what is no version at all."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d(\.\w+)?", version):
        raise StripeRefusal(400, f"Invalid Stripe API version: {version}")
    return version


def _shown_thin(stored: Object) -> Object:
    return stored | {"created": written_time(stored["created"])}


def _not_modelled(name: str) -> StripeRefusal:
    refusal = unknown_path(*name.split(" ", 1))
    refusal.message += " (The SDK knows it; the lab's Stripe does not model it.)"
    return refusal
