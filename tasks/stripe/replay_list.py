"""List events at Stripe, page by page: the snapshot events of a window, and the thin ones (v2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from pydantic_core import from_json, to_json

from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeMissing
from tasks.stripe.event_subject import NEVER_MADE, about, named_in
from tasks.stripe.replay_state import Event

Bodies = list[dict[str, Any]]
PAGE = 100
MANY_TYPES = 20  #: Stripe takes no more at once
THIN_TYPES = ("v1.", "v2.")


def questions(since: float, until: float, types: tuple[str, ...], windows: int) -> list[dict[str, Any]]:
    """Cut a window into half-open ones, and the types into as many as may be asked for at once."""
    low, high = int(since), int(until)
    edges = sorted({low + (high - low) * n // windows for n in range(windows + 1)})
    return [
        {"limit": PAGE, "created": {"gte": first, "lt": last}} | asked
        for first, last in pairwise(edges)
        for asked in asked_types(types)
    ]


def asked_types(types: tuple[str, ...]) -> list[dict[str, list[str]]]:
    """Cut the types into groups; none at all asks for every one."""
    snapshot = sorted({each for each in types if not each.startswith(THIN_TYPES)})
    if not types:
        return [{}]
    return [{"types": snapshot[start : start + MANY_TYPES]} for start in range(0, len(snapshot), MANY_TYPES)]


def pages(api: StripeApi, asked: dict[str, Any]) -> Iterator[Bodies]:
    """List snapshot events, newest first."""
    params = dict(asked)
    while True:
        try:
            page = from_json(api.get("/v1/events", params))
        except StripeMissing:  # the last event of the page before is older than 30 days by now, and so is the rest
            return
        yield page["data"]
        if not page.get("has_more") or not page["data"]:
            return
        params["starting_after"] = page["data"][-1]["id"]


def thin_pages(api: StripeApi, since: float, until: float, types: tuple[str, ...]) -> Iterator[Bodies]:
    """List thin events; a window without any costs one request, and types that are not thin cost none."""
    thin = sorted({each for each in types if each.startswith(THIN_TYPES)})
    for start in range(0, len(thin) or not types, MANY_TYPES):
        wanted = thin[start : start + MANY_TYPES]
        params: dict[str, Any] = {"limit": PAGE, "created": {"gte": _written(since), "lt": _written(until)}}
        path: str | None = "/v2/core/events"
        params |= {"types": wanted} if wanted else {}
        while path:
            page = from_json(api.get(path, params))
            yield page["data"]
            path, params = page.get("next_page_url"), {}  # the address says all of it again


def completed(api: StripeApi, event: Event) -> Event:
    """Ask which objects an event names: neither its webhook nor the list need show that."""
    if event.type != NEVER_MADE or event.named:
        return event
    body = from_json(api.get(f"/v2/core/events/{event.id}"))
    return replace(event, named=named_in(body), payload=_kept(body))


def account_of(body: dict[str, Any], account: str) -> str:
    """Say whose event it is: a snapshot of a connected account names it."""
    return str(body.get("account") or account)


def event_of(body: dict[str, Any], account: str) -> Event:
    """Take what we keep out of an event; the rest stays in its payload."""
    table, object_id = about(body)
    created = body["created"]
    return Event(
        account=account_of(body, account),
        id=body["id"],
        type=body["type"],
        table=table,
        object_id=object_id,
        created=float(created) if isinstance(created, int | float) else datetime.fromisoformat(created).timestamp(),
        api_version=body.get("api_version") or "",
        livemode=bool(body.get("livemode")),
        payload=_kept(body),
        named=named_in(body),
    )


def _kept(body: dict[str, Any]) -> str:
    """Write an event as the table keeps it: PostgreSQL has no place for the character zero."""
    return to_json(body).decode().replace("\\u0000", "\\ufffd")


def own_event(row: dict[str, Any]) -> Event:
    """Read a row of our own table of events."""
    body = from_json(row["payload"]) if row["payload"] else {}
    table, object_id = about(body)
    return Event(
        **{name: row[name] for name in ("account", "type", "created", "livemode", "status", "attempts")},
        id=row["event_id"],
        table=table,
        object_id=object_id or row["object_id"] or "",
        api_version=row["api_version"] or "",
        payload=row["payload"] or "{}",
        named=named_in(body),
    )


def _written(moment: float) -> str:
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
