"""The fake Stripe as an ASGI application: who asks, may he, is it valid, what goes wrong, the answer, the journal."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.lab.stripe import query
from tests.lab.stripe.answers import Answers, Idempotency, accepted_version
from tests.lab.stripe.contract import Route, route_of
from tests.lab.stripe.faults import Faults, Planned
from tests.lab.stripe.history import step
from tests.lab.stripe.refusal import StripeRefusal, not_permitted, unknown_path, wrong_key
from tests.lab.stripe.universe import Universe, World

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
JOURNAL = 300_000
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


class Asked:
    """One request, as far as it is understood."""

    def __init__(self, scope: MutableMapping[str, Any], body: bytes) -> None:
        """Read the request line, the headers and the parameters."""
        self.method, self.path, self.body = str(scope["method"]), str(scope["path"]), body
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        self.key = headers.get("authorization", "").removeprefix("Bearer ").strip()
        self.account = headers.get("stripe-account", "") or headers.get("stripe-context", "")
        self.version = headers.get("stripe-version", "")
        self.idempotency_key = headers.get("idempotency-key", "")
        self.query = bytes(scope["query_string"])
        self.params = query.read(self.query) | (query.read(body) if body else {})
        self.endpoint, self.begun, self.number = "", time.time(), 0


class Server:
    """Answers Stripe's API; what starts with /_fake/ goes to the control door."""

    def __init__(self, world: World, control: Callable[[str, dict[str, Any]], Awaitable[Any]]) -> None:
        """Serve WORLD; CONTROL does what the door is asked."""
        self.world, self.control = world, control
        self.faults, self.idempotency = Faults(), Idempotency()
        self.journal: deque[dict[str, Any]] = deque(maxlen=JOURNAL)
        self.numbered = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = await _read(receive)
        if scope["path"].startswith("/_fake/"):
            await self._controlled(scope["path"][7:], body, send)
            return
        asked = Asked(scope, body)
        self.numbered += 1
        asked.number = self.numbered
        fault: Planned | None = None
        headers: dict[str, str] = {}
        try:
            fault, status, written, headers = await self._answer(asked)
        except StripeRefusal as refusal:
            status, written, headers = refusal.status, refusal.body(), refusal.headers
        if fault and fault.kind == "cut":
            self._note(asked, status, fault.kind)
            await _hang_up(scope)
            return
        await self._reply(asked, send, status, written, headers, fault)

    async def _answer(self, asked: Asked) -> tuple[Planned | None, int, bytes, dict[str, str]]:
        found = route_of(asked.method, asked.path)
        asked.endpoint = found[0].name if found else f"{asked.method} {asked.path}"
        if self.faults.latency_seconds:
            await asyncio.sleep(self.faults.latency_seconds)
        universe = self._universe(asked)
        self.faults.limits.admit(universe.account, asked.endpoint)
        fault = self.faults.strike(asked.endpoint)
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if found is None:
            raise unknown_path(asked.method, asked.path)
        status, written, headers = self._once(asked, universe, *found)
        return fault, status, written, headers

    def _universe(self, asked: Asked) -> Universe:
        """Say whose objects are asked for, and refuse those who may not."""
        if asked.key not in self.world.keys:
            raise wrong_key(asked.key)
        account, livemode, permissions = self.world.keys[asked.key]
        resource = asked.path.split("/")[2] if asked.path.count("/") > 1 else ""
        if permissions is not None and resource not in permissions:
            raise not_permitted(account, f"rak_{resource.rstrip('s')}_read")
        if not asked.account or asked.account == account:
            return self.world.universe(account, livemode=livemode)
        found = self.world.universes.get((asked.account, livemode))
        if found is None or not found.connected:
            said = (
                f"The provided key '{asked.key[:8]}***' does not have access to account '{asked.account}'"
                " (or that account does not exist)."
            )
            raise StripeRefusal(403, said, code="account_invalid")
        return found

    def _once(
        self, asked: Asked, universe: Universe, route: Route, ids: tuple[str, ...]
    ) -> tuple[int, bytes, dict[str, str]]:
        """Answer; a POST with a key that is known is answered as the first time."""
        version = accepted_version(asked.version or universe.api_version)
        params = route.accept(asked.params)
        answers = Answers(universe, version)
        key = asked.idempotency_key if asked.method != "GET" else ""
        same = asked.path.encode() + b"\0" + asked.body
        known = self.idempotency.recall(universe.account, key, same) if key else None
        if known is not None:
            return *known, {"idempotent-replayed": "true"}
        if self.faults.mutate_while_listed and route.method == "get" and not ids:
            for _ in range(self.faults.mutate_while_listed):
                step(universe, self.faults.chance)
        universe.request = {"id": f"req_{asked.number}", "idempotency_key": key or None}
        try:
            written = answers.give(route.name, asked.path, ids, params)
        finally:
            universe.request = {"id": None, "idempotency_key": None}
        if key:
            self.idempotency.remember(universe.account, key, same, 200, written)
        return 200, written, {}

    async def _reply(  # noqa: PLR0913, PLR0917 - an answer and where it goes
        self, asked: Asked, send: Send, status: int, body: bytes, headers: dict[str, str], fault: Planned | None
    ) -> None:
        kind = fault.kind if fault else ""
        if kind == "html":
            status, body = 502, HTML
        self._note(asked, status, kind)
        all_headers = {
            "content-type": "text/html" if kind == "html" else "application/json",
            "content-length": str(len(body)),
            "request-id": f"req_{asked.number}",
            "stripe-version": asked.version or self.world.universe().api_version,
            **headers,
        }
        if asked.idempotency_key:
            all_headers["idempotency-key"] = asked.idempotency_key
        encoded = [(name.encode(), value.encode()) for name, value in all_headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        if kind == "cut_body":
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            return
        await send({"type": "http.response.body", "body": body})

    def _note(self, asked: Asked, status: int, fault: str) -> None:
        self.journal.append(
            {
                "number": asked.number,
                "method": asked.method,
                "path": asked.path,
                "endpoint": asked.endpoint,
                "params": asked.params,
                "status": status,
                "fault": fault,
                "account": asked.account,
                "api_version": asked.version,
                "idempotency_key": asked.idempotency_key,
                "at": asked.begun,
                "seconds": time.time() - asked.begun,
            }
        )

    async def _controlled(self, name: str, body: bytes, send: Send) -> None:
        try:
            status, answer = 200, await self.control(name, orjson.loads(body or b"{}"))
        except StripeRefusal as refusal:
            status, answer = 400, {"error": refusal.message}
        except (KeyError, TypeError, ValueError) as error:
            status, answer = 400, {"error": f"{type(error).__name__}: {error}"}
        written = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(written)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": written})


class Line(H11Protocol):
    """uvicorn's own protocol; the application may hang up."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Tell the application about the line."""
        super().connection_made(transport)
        inner = self.app

        async def on_the_line(scope: Any, receive: Any, send: Any) -> None:
            scope["lab.line"] = transport
            await inner(scope, receive, send)

        self.app = on_the_line


async def _hang_up(scope: MutableMapping[str, Any]) -> None:
    """Close the connection without a word; uvicorn hears of it before it can answer for us."""
    scope["lab.line"].abort()
    await asyncio.sleep(0.01)


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body
