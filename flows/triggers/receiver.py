"""The receiver: alerts and requests come in over HTTP, are stored, and become Prefect events.

    python -m flows.triggers.receiver --port 8090

It needs the blocks `ledger` and `intake`, and PREFECT_API_URL. Several may run behind any load balancer.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from blocks.errors import SalvorError
from blocks.intake import Intake
from blocks.ledger.block import Ledger
from blocks.prefect_api import PrefectApi
from flows.triggers.catalogue import procedures
from flows.triggers.counted import Counted
from flows.triggers.desk import Desk
from flows.triggers.dispatch import Dispatcher
from flows.triggers.hooks import Door, Hooks, rejected
from flows.triggers.limits import Buckets, Rejection
from flows.triggers.loading import load_block, speak
from flows.triggers.metrics import Metrics

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


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m flows.triggers.receiver", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--ssl-certfile", help="certificate, when no load balancer ends TLS before this")
    parser.add_argument("--ssl-keyfile", help="its key")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser.parse_args()


def main() -> int:
    """Serve until told to stop; 2 when a setting is missing."""
    args = arguments()
    speak(args.log_level)
    try:
        ledger, intake = load_block(Ledger, "ledger"), load_block(Intake, "intake")
        ledger.upgrade()
        app = build(ledger, intake, PrefectApi.configured(), procedures())
    except SalvorError as error:
        sys.stderr.write(f"The receiver does not start: {error}\n")
        return 2
    uvicorn.run(
        app,
        host=args.host,
        port=args.port,
        ssl_certfile=args.ssl_certfile,
        ssl_keyfile=args.ssl_keyfile,
        log_level=args.log_level,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
