"""Look objects up at Stripe, at the pinned version: what an event said of them may be stale or out of order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeMissing, StripeRefused
from tasks.stripe.copy_format import plain
from tasks.stripe.decide_replay import worth_listing
from tasks.stripe.event_subject import ROWS
from tasks.stripe.event_subject import row_of as concerned
from tasks.stripe.kinds import TABLES, Kind
from tasks.stripe.replay_links import Links, link_of
from tasks.stripe.shapes import Named

PAGE = 100
Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Look:
    """How an object was at a moment: its row, or None when Stripe no longer has it."""

    at: datetime
    row: dict[str, str | None] | None


def listed(
    api: StripeApi, table: str, wanted: set[str], clock: Clock, links: Links | None
) -> Iterator[dict[str, Look]]:
    """List while a page answers more objects than single requests would; what is found leaves WANTED."""
    kind, payments = TABLES[table][0], table == "payments"
    found: int | None = None
    params: dict[str, Any] = (
        dict(kind.params) | {"limit": PAGE} | ({"expand": ["data.latest_charge"]} if payments else {})
    )
    more = True
    while more and worth_listing(len(wanted), found):
        at = clock()
        try:
            page = from_json(api.get(f"/v1/{kind.name}", params))
        except StripeMissing:  # the object behind which the list went on is gone: the rest is asked one by one
            return
        mine = [body for body in page["data"] if body["id"] in wanted]
        if payments and links is not None:  # one whose invoice must be asked for is not answered by a list
            mine = [body for body in mine if body["id"] in links]
        looks = dict(_looks(api, kind, mine, at, links))
        yield looks
        wanted -= set(looks)
        found = len(looks)
        more = bool(page.get("has_more") and page["data"])
        if more:
            params["starting_after"] = page["data"][-1]["id"]


def _looks(
    api: StripeApi, kind: Kind[Named], bodies: list[dict[str, Any]], at: datetime, links: Links | None
) -> Iterator[tuple[str, Look]]:
    for body in bodies:
        with suppress(StripeRefused):  # of an odd shape: asked for alone, it is its own events that keep the error
            yield body["id"], Look(at, _row(api, kind, body, links))


def named_row(api: StripeApi, kind: str, object_id: str) -> tuple[str, str] | None:
    """Say which row of ours an object concerns that is only named; a charge must be asked for its payment."""
    table, path = ROWS[kind]
    if path == ("id",):
        return table, object_id
    try:
        row = concerned(from_json(api.get(f"/v1/{kind}s/{object_id}")))
    except StripeMissing:
        return None
    return row if row[0] else None


def looked_up(api: StripeApi, table: str, object_id: str, clock: Clock, links: Links | None) -> Look:
    """Retrieve one object; what Stripe does not have, or says that it deleted, is gone."""
    kind, at = TABLES[table][0], clock()
    params = {"expand": ["latest_charge"]} if table == "payments" else {}
    try:
        body = from_json(api.get(f"/v1/{kind.name}/{object_id}", params))
    except StripeMissing:
        return Look(at, None)
    if body.get("deleted"):
        return Look(at, None)
    return Look(at, _row(api, kind, body, links))


def _row(api: StripeApi, kind: Kind[Named], body: dict[str, Any], links: Links | None) -> dict[str, str | None]:
    joined = _joined(api, body, links) if kind.name == "payment_intents" else {}
    return row_of(api, kind, body) | joined


def row_of(api: StripeApi, kind: Kind[Named], body: dict[str, Any]) -> dict[str, str | None]:
    """Give the object in the application's columns."""
    items = body.get("items") if kind.name == "subscriptions" else None
    if items and items.get("has_more"):
        items["data"] = list(_all(api, "/v1/subscription_items", {"subscription": body["id"]}))
    try:
        one = kind.one.validate_json(to_json(body))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise StripeRefused(f"{body['id']} has not the shape that is known ({where}).") from error
    return {name: plain(value) for name, value in zip(kind.fields, kind.values(one), strict=True)}


def _joined(api: StripeApi, body: dict[str, Any], links: Links | None) -> dict[str, str | None]:
    """Take out of a payment what was given back, and add which invoice it pays, unless nobody wants to know."""
    charge = body.get("latest_charge")
    # After a charge that succeeded there is no other, so it is the latest; what failed cannot be given back.
    refunded = charge.get("amount_refunded") or 0 if isinstance(charge, dict) else 0
    body["latest_charge"] = charge["id"] if isinstance(charge, dict) else charge
    row: dict[str, str | None] = {"refunded_amount": str(refunded)}
    if links is None:
        return row
    return row | {"invoice_id": links[body["id"]] if body["id"] in links else link_of(api, body["id"])}


def _all(api: StripeApi, path: str, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    asked = params | {"limit": PAGE}
    while True:
        page = from_json(api.get(path, asked))
        yield from page["data"]
        if not page.get("has_more") or not page["data"]:
            return
        asked["starting_after"] = page["data"][-1]["id"]
