"""A Stripe of paper: a few routes over a real socket, told by a test what it has and what goes wrong."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

ACCOUNT = "acct_paper"
Fault = Callable[[str, dict[str, str]], tuple[int, dict[str, Any] | bytes, dict[str, str]] | None]
CUT = 0  #: in place of a status: the connection ends without an answer
KINDS = {"cus": "customers", "sub": "subscriptions", "in": "invoices", "pi": "payment_intents"}


class PaperStripe:
    """Objects, events (oldest first), every request that was seen, and a fault to be set."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS.values()}
        self.events: list[dict[str, Any]] = []
        self.thin: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.fault: Fault = lambda _path, _query: None
        self.livemode = False
        self.on_behalf_of = ""
        self._number = itertools.count(1)
        self._lock = threading.Lock()
        paper = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                paper.on_behalf_of = self.headers.get("Stripe-Account") or self.headers.get("Stripe-Context") or ""
                status, body, headers = paper.answer(self.command, self.path)
                if status == CUT:
                    self.close_connection = True
                    return
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(content))}).items():
                    self.send_header(name, value)
                with suppress(OSError):  # whoever asked may be dead
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # --- what it has

    def put(self, kind: str, **facts: Any) -> dict[str, Any]:
        """Make or change an object."""
        prefix = next(p for p, k in KINDS.items() if k == kind)
        key = facts.pop("id", None) or f"{prefix}_{next(self._number)}"
        base = {"id": key, "object": kind.removesuffix("s"), "created": int(time.time()) - 90_000, "livemode": False}
        thing = self.objects[kind].get(key) or base | DEFAULTS[kind]()
        self.objects[kind][key] = thing | facts
        return self.objects[kind][key]

    def event(self, kind: str, thing: dict[str, Any], *, age: float = 3600, **facts: Any) -> dict[str, Any]:
        """Tell of an object as it is now."""
        made = {
            "id": f"evt_{next(self._number):06d}",
            "object": "event",
            "type": kind,
            "created": int(time.time() - age),
            "livemode": self.livemode,
            "api_version": "2025-03-31.basil",
            "pending_webhooks": 1,
            "data": {"object": json.loads(json.dumps(thing))},
        } | facts
        self.events.append(made)
        return made

    def never_made(self, thing: dict[str, Any], *, age: float = 3600, context: str | None = None) -> dict[str, Any]:
        """Tell that no event could be made about an object."""
        related = {"id": thing["id"], "type": thing["object"], "url": f"/v1/{thing['object']}s/{thing['id']}"}
        made = {
            "id": f"evt_thin_{next(self._number)}",
            "object": "v2.core.event",
            "type": "v2.core.health.event_generation_failure.resolved",
            "created": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - age)),
            "livemode": self.livemode,
            "data": {"impact": {"event_type": "x", "related_object": related, "context": context}},
        }
        self.thin.append(made)
        return made

    def delete(self, kind: str, key: str) -> dict[str, Any]:
        """Delete an object; of a customer a stub stays."""
        thing = self.objects[kind].pop(key)
        if kind == "customers":
            self.objects[kind][key] = {"id": key, "object": "customer", "deleted": True}
        return thing

    # --- what it answers

    def answer(self, method: str, path: str) -> tuple[int, dict[str, Any] | bytes, dict[str, str]]:
        parts = urlsplit(path)
        query = dict(parse_qsl(parts.query))
        with self._lock:
            self.requests.append((method, path))
            if found := self.fault(parts.path, query):
                return found
            return self._found(parts.path.strip("/").split("/")[1:], query)

    def _found(self, path: list[str], query: dict[str, str]) -> tuple[int, dict[str, Any], dict[str, str]]:
        if path == ["account"]:
            return 200, {"id": ACCOUNT, "object": "account"}, {}
        if path[:2] == ["core", "events"]:
            return self._thin(path[2:], query)
        if path == ["events"]:
            return 200, self._page([e for e in self.events if _meant(e, query)], query), {}
        if len(path) == 1:
            rows = [o for o in self.objects.get(path[0], {}).values() if not o.get("deleted")]
            return 200, self._page(rows, query), {}
        thing = self.objects.get(path[0], {}).get(path[1])
        return (200, thing, {}) if thing else (404, {"error": {"code": "resource_missing", "message": "No such."}}, {})

    def _thin(self, path: list[str], query: dict[str, str]) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Give all thin events at once, without what only a retrieve shows."""
        if path:
            return 200, next(each for each in self.thin if each["id"] == path[0]), {}
        low, high = query["created[gte]"], query["created[lt]"]
        shown = [each | {"data": None} for each in self.thin if low <= each["created"] < high]
        return 200, {"data": shown, "next_page_url": None}, {}

    def _page(self, rows: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        newest = sorted(rows, key=lambda r: (r["created"], r["id"]), reverse=True)
        after, limit = query.get("starting_after"), int(query.get("limit", 10))
        start = next((n + 1 for n, row in enumerate(newest) if row["id"] == after), 0)
        return {"object": "list", "data": newest[start : start + limit], "has_more": start + limit < len(newest)}


def _meant(event: dict[str, Any], query: dict[str, str]) -> bool:
    if query.get("delivery_success") == "false" and not event["pending_webhooks"]:
        return False
    types = [value for name, value in query.items() if name.startswith("types[")]
    low, high = int(query.get("created[gte]", 0)), int(query.get("created[lt]", 1 << 60))
    return low <= event["created"] < high and (not types or event["type"] in types)


def _subscription() -> dict[str, Any]:
    item = {"id": "si_1", "current_period_start": 1, "current_period_end": 2, "quantity": 1, "price": {"id": "price_1"}}
    items = {"data": [item], "has_more": False}
    return {"customer": "cus_x", "status": "active", "items": items, "pause_collection": None}


DEFAULTS: dict[str, Callable[[], dict[str, Any]]] = {
    "customers": lambda: {"email": "a@example.com", "currency": "usd", "delinquent": False},
    "subscriptions": _subscription,
    "invoices": lambda: {
        "customer": "cus_x", "status": "open", "currency": "usd", "amount_due": 100, "amount_paid": 0, "parent": None,
    },
    "payment_intents": lambda: {"customer": "cus_x", "status": "succeeded", "currency": "usd", "amount": 100},
}  # fmt: skip
