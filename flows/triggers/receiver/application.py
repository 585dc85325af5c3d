"""What the receiver serves: every route, what they share, and what is answered while the ledger is out of order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from blocks.errors import SalvorError
from blocks.intake import Intake
from blocks.ledger.block import Ledger
from blocks.prefect_api import PrefectApi
from flows.triggers.dispatch import Dispatcher
from flows.triggers.receiver.counted import Counted
from flows.triggers.receiver.desk import Desk
from flows.triggers.receiver.hooks import Door, Hooks, rejected
from flows.triggers.receiver.limits import Buckets, Rejection
from flows.triggers.receiver.metrics import Metrics

LOG = logging.getLogger("salvor.receiver")
CALLS_PER_SECOND, CALLS_AT_ONCE = 50.0, 200
MISTAKES_PER_SECOND, MISTAKES_AT_ONCE = 0.5, 20


class Gauges:
    """The two routes that look at the receiver itself."""

    def __init__(self, door: Door, ledger: Ledger, metrics: Metrics) -> None:
        """Let in by DOOR."""
        self.door = door
        self.ledger = ledger
        self.registry = metrics.registry

    async def metrics(self, request: Request) -> Response:
        """Count everything, for Prometheus."""
        self.door.count(request)
        self.door.by_token(request, self.door.intake.scrapers)
        content = await asyncio.to_thread(generate_latest, self.registry)
        return Response(content, media_type=CONTENT_TYPE_LATEST)

    async def health(self, _request: Request) -> Response:
        """Say whether alerts can be stored; a Prefect server that is down does not matter for that."""
        await asyncio.to_thread(self._touch)
        return JSONResponse({"status": "ok"})

    def _touch(self) -> None:
        with self.ledger.read() as connection:
            connection.exec_driver_sql("SELECT 1")


def build(ledger: Ledger, intake: Intake, prefect: PrefectApi, known: tuple[str, ...]) -> Starlette:
    """Put the application together; whoever runs it brings the ledger up to date first."""
    door = Door(intake, Buckets(CALLS_PER_SECOND, CALLS_AT_ONCE), Buckets(MISTAKES_PER_SECOND, MISTAKES_AT_ONCE))
    dispatcher, metrics = Dispatcher(ledger, prefect, known), Metrics(ledger)
    hooks, desk, gauges = Hooks(door, dispatcher), Desk(door, dispatcher), Gauges(door, ledger, metrics)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with prefect:
            await prefect.warm()
            yield
            await dispatcher.drain()

    routes = [
        Route("/hooks/alertmanager", hooks.alertmanager, methods=["POST"]),
        Route("/hooks/grafana", hooks.grafana, methods=["POST"]),
        Route("/hooks/pagerduty", hooks.pagerduty, methods=["POST"]),
        Route("/hooks/generic", hooks.generic, methods=["POST"]),
        Route("/recover/{procedure}", desk.recover, methods=["POST"]),
        Route("/recover", desk.status, methods=["GET"]),
        Route("/hold", desk.hold, methods=["POST"]),
        Route("/lift", desk.lift, methods=["POST"]),
        Route("/metrics", gauges.metrics, methods=["GET"]),
        Route("/health", gauges.health, methods=["GET"]),
    ]
    app = Starlette(
        routes=routes, lifespan=lifespan, exception_handlers={Rejection: rejected, SalvorError: out_of_order}
    )
    app.add_middleware(Counted, counter=metrics.requests)
    return app


def out_of_order(_request: Request, error: Exception) -> Response:
    """Answer 503: it was not stored, so the sender must try again (Alertmanager does on 5xx, never on 4xx)."""
    LOG.error("Not stored: %s", error)
    content = {"error": "Nothing was stored: the ledger is out of order. Send it again; the receiver's log says more."}
    return JSONResponse(content, status_code=503, headers={"Retry-After": "1"})
