"""Counts what the receiver answered, by route and status."""

from __future__ import annotations

from prometheus_client import Counter
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Counted:
    """ASGI middleware; an unknown path is counted as such, so that a stranger cannot make up labels."""

    def __init__(self, app: ASGIApp, counter: Counter) -> None:
        """Count what APP answers in COUNTER."""
        self.app = app
        self.counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything through and note the status."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.counter.labels(route_of(scope), str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, noted)


def route_of(scope: Scope) -> str:
    """Name the route by its pattern."""
    endpoint = scope.get("endpoint")
    routes = scope["app"].routes if "app" in scope else ()
    patterns = [r.path for r in routes if isinstance(r, Route) and r.endpoint == endpoint]
    return patterns[0] if patterns else "unknown"
