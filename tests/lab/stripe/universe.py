"""What Stripe holds for one account in one mode, and the world that holds all of them."""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import Any

import orjson
import stripe

from tests.lab.stripe.collection import Collection, Object
from tests.lab.stripe.refusal import missing
from tests.lab.stripe.shapes import INLINE_ITEMS

KINDS = (
    "customer",
    "subscription",
    "invoice",
    "payment_intent",
    "charge",
    "invoice_payment",
    "refund",
    "event",
    "thin_event",
    "webhook_endpoint",
)
PREFIX = {
    "customer": "cus",
    "subscription": "sub",
    "subscription_item": "si",
    "invoice": "in",
    "payment_intent": "pi",
    "charge": "ch",
    "invoice_payment": "inpay",
    "refund": "re",
    "event": "evt",
    "thin_event": "evt",
    "webhook_endpoint": "we",
    "price": "price",
}
API_VERSION: str = stripe.api_version
NOT_GENERATED = "v2.core.health.event_generation_failure.resolved"


class Clock:
    """Seconds since 1970; it stands still while a history is written."""

    def __init__(self) -> None:
        """Go with the machine's clock."""
        self.stopped_at: int | None = None

    def now(self) -> int:
        """Say what time it is."""
        return int(time.time()) if self.stopped_at is None else self.stopped_at


class Universe:
    """One account in one mode: its objects and its events."""

    def __init__(self, world: World, account: str, *, livemode: bool, connected: bool = False) -> None:
        """Start empty."""
        self.world, self.account, self.livemode, self.connected = world, account, livemode, connected
        self.api_version = API_VERSION
        self.kinds = {
            kind: Collection(kind, _shown_subscription if kind == "subscription" else _as_it_is) for kind in KINDS
        }
        self.generating = True
        self.request: dict[str, Any] = {"id": None, "idempotency_key": None}

    def __getitem__(self, kind: str) -> Collection:
        """Give all objects of a kind."""
        return self.kinds[kind]

    def new_id(self, kind: str) -> str:
        """Make an id; ids do not sort by age, as Stripe's do not."""
        return self.world.new_id(PREFIX[kind])

    def now(self) -> int:
        """Say what time it is."""
        return self.world.clock.now()

    def find(self, kind: str, id_: str, *, param: str = "id", status: int = 404) -> Object:
        """Give an object that is not deleted."""
        found = None if self.kinds[kind].gone(id_) else self.kinds[kind].get(id_)
        if found is None:
            raise missing(kind, id_, param, status)
        return found

    def put(self, kind: str, stored: Object) -> Object:
        """Keep it."""
        self.kinds[kind].put(stored)
        return stored

    def emit(self, type_: str, about: Object, previous: Object | None = None) -> None:
        """Generate an event; when Stripe cannot, it says so later, in a thin one."""
        if not self.generating:
            self._say_not_generated(type_, about)
            return
        kind = about.get("object", "")
        shown = self.kinds[kind].shown(about) if kind in self.kinds else about
        data: Object = {"object": orjson.Fragment(orjson.dumps(shown))}
        if previous is not None:
            data["previous_attributes"] = orjson.Fragment(orjson.dumps(previous))
        event: Object = {
            "id": self.new_id("event"),
            "object": "event",
            "api_version": self.api_version,
            "created": self.now(),
            "data": data,
            "livemode": self.livemode,
            "pending_webhooks": 0,
            "request": dict(self.request),
            "type": type_,
            **({"account": self.account} if self.connected else {}),
        }
        self.put("event", event)
        self.world.on_event(self, event)

    def _say_not_generated(self, type_: str, about: Object) -> None:
        kind, id_ = str(about.get("object", "")), str(about.get("id", ""))
        related = {"id": id_, "type": kind, "url": f"/v1/{kind}s/{id_}"}
        impact = {"event_type": type_, "related_object": related}
        self.emit_thin(
            NOT_GENERATED,
            {
                "alert_id": self.world.new_id("halert"),
                "grouping_key": self.world.new_id("_grouping"),
                "impact": impact | ({"context": self.account} if self.connected else {}),
                "resolved_at": written_time(self.now()),
                "summary": "We have failed to create a notification for your Stripe account.",
            },
        )

    def emit_thin(self, type_: str, data: Object, related: Object | None = None) -> Object:
        """Generate a thin event."""
        event: Object = {
            "id": self.new_id("thin_event"),
            "object": "v2.core.event",
            "type": type_,
            "livemode": self.livemode,
            "created": self.now(),
            "context": self.account if self.connected else None,
            "reason": None,
            "data": data,
            "related_object": related,
            "changes": None,
            "snapshot_event": None,
        }
        self.put("thin_event", event)
        self.world.on_event(self, event)
        return event


class World:
    """All accounts, in both modes, and who may see them."""

    def __init__(self, account: str, key: str, live_key: str) -> None:
        """Start with one account."""
        self.account, self.clock, self.ids = account, Clock(), 0
        self.universes: dict[tuple[str, bool], Universe] = {}
        self.keys: dict[str, tuple[str, bool, frozenset[str] | None]] = {}
        self.horizon_days = 30.0
        self.listeners: list[Any] = []
        self.grant(key, account)
        self.grant(live_key, account)

    def grant(self, key: str, account: str, permissions: list[str] | None = None) -> None:
        """Let KEY see ACCOUNT, in the mode that the key says; PERMISSIONS restrict it to these resources."""
        live = "_live_" in key
        self.keys[key] = (account, live, None if permissions is None else frozenset(permissions))
        self.universe(account, livemode=live)

    def universe(self, account: str = "", *, livemode: bool = False, connected: bool = False) -> Universe:
        """Give what an account holds in a mode."""
        name = account or self.account
        if (name, livemode) not in self.universes:
            self.universes[name, livemode] = Universe(self, name, livemode=livemode, connected=connected)
        return self.universes[name, livemode]

    def new_id(self, prefix: str) -> str:
        """Make an id that nothing else has."""
        self.ids += 1
        return f"{prefix}_1{blake2b(str(self.ids).encode(), digest_size=9).hexdigest()}"

    def on_event(self, universe: Universe, event: Object) -> None:
        """Tell those who deliver."""
        for listener in self.listeners:
            listener(universe, event)


def written_time(moment: float) -> str:
    """Write a time as v2 does."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


def _as_it_is(stored: Object) -> Object:
    return stored


def _shown_subscription(stored: Object) -> Object:
    """Show the first items only."""
    items = stored["items"]
    if len(items["data"]) <= INLINE_ITEMS:
        return stored
    return stored | {"items": items | {"data": items["data"][:INLINE_ITEMS], "has_more": True}}
