"""The routes for people and scripts: ask for a recovery, see what runs, place a hold and lift it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from blocks.ledger import holds, intake, runs
from blocks.ledger.block import Ledger
from blocks.ledger.records import Run
from flows.triggers.catalogue import unknown
from flows.triggers.dispatch import Dispatcher, Filed, file
from flows.triggers.events import Signal, well_named
from flows.triggers.receiver import generic
from flows.triggers.receiver.hooks import Door, understand
from flows.triggers.receiver.limits import Rejection, parse, read_body

IDEMPOTENCY_KEY = "idempotency-key"
RECENT_RUNS = 50


B = TypeVar("B", bound=BaseModel)


class Pause(BaseModel):
    """What POST /hold takes."""

    model_config = ConfigDict(extra="forbid")

    resource: str = Field(min_length=1, max_length=255, description="A target, a resource, or `*` for everything.")
    hours: float = Field(gt=0, le=24 * 90)
    reason: str = Field(min_length=3, max_length=2000)
    requested_by: str = Field(min_length=2, max_length=200)


class Release(BaseModel):
    """What POST /lift takes."""

    model_config = ConfigDict(extra="forbid")

    resource: str = Field(min_length=1, max_length=255)
    requested_by: str = Field(min_length=2, max_length=200)


class Desk:
    """Everything here needs the operators' token."""

    def __init__(self, door: Door, dispatcher: Dispatcher) -> None:
        """Let in by DOOR, send on by DISPATCHER."""
        self.door = door
        self.dispatcher = dispatcher
        self.ledger = dispatcher.ledger

    async def recover(self, request: Request) -> Response:
        """Ask for a recovery; the same Idempotency-Key asks only once."""
        self._admit(request)
        procedure = request.path_params["procedure"]
        if why := unknown(procedure, self.dispatcher.known):
            raise Rejection(404, f"{why[0].upper()}{why[1:]}.")
        body = parse(await read_body(request))
        key = request.headers.get(IDEMPOTENCY_KEY, "") or str(uuid4())
        if not key.isprintable() or len(key) > 200:  # noqa: PLR2004 - it is stored as a fingerprint
            raise Rejection(400, "The Idempotency-Key must be at most 200 printable characters.")
        signal = understand(lambda: generic.translate_request(procedure, body, datetime.now(UTC), key))
        if not well_named(signal.target):
            raise Rejection(400, f"{signal.target!r} is not a target: lower-case letters, digits and dashes.")
        filed = await asyncio.to_thread(self._file, signal)
        self.dispatcher.push(filed)
        content = {"request": key, "new": filed.new, "said": filed.said, "status": "/recover"}
        return JSONResponse(content, status_code=202 if filed.new else 200)

    async def status(self, request: Request) -> Response:
        """Show what runs, what ran lately and what is held."""
        self._admit(request)
        return JSONResponse(await asyncio.to_thread(overview, self.ledger))

    async def hold(self, request: Request) -> Response:
        """Begin nothing on a resource for some hours."""
        asked = await self._asked(request, Pause)
        until = datetime.now(UTC) + timedelta(hours=asked.hours)
        await asyncio.to_thread(holds.hold, self.ledger, asked.resource, until, asked.reason, asked.requested_by)
        return JSONResponse({"resource": asked.resource, "until": until.isoformat()})

    async def lift(self, request: Request) -> Response:
        """Lift what holds exactly this resource."""
        asked = await self._asked(request, Release)
        lifted = await asyncio.to_thread(holds.lift, self.ledger, asked.resource, asked.requested_by)
        return JSONResponse({"resource": asked.resource, "lifted": lifted})

    def _admit(self, request: Request) -> None:
        self.door.count(request)
        self.door.by_token(request, self.door.intake.operators)

    async def _asked(self, request: Request, model: type[B]) -> B:
        self._admit(request)
        body = parse(await read_body(request))
        return understand(lambda: model.model_validate(body))

    def _file(self, signal: Signal) -> Filed:
        at = intake.first_asked(self.ledger, f"request/{signal.fingerprint}", signal.requested_by)
        return file(self.ledger, signal.model_copy(update={"starts_at": at}), self.dispatcher.known)


def overview(ledger: Ledger) -> dict[str, Any]:
    """Return the runs that are under way, the latest that ended, and the holds in force."""
    latest = runs.history(ledger, limit=RECENT_RUNS)
    return {
        "active": [brief(r) for r in latest if r.active],
        "recent": [brief(r) for r in latest if not r.active],
        "holds": [h.model_dump(mode="json") for h in holds.standing(ledger)],
    }


def brief(run: Run) -> dict[str, Any]:
    """Return what one line of a status page needs."""
    return run.model_dump(
        mode="json",
        include={
            "flow_run_id",
            "procedure",
            "target",
            "alert",
            "requested_by",
            "dry_run",
            "attempt",
            "started_at",
            "ended_at",
            "swept_at",
            "outcome",
            "why",
        },
    )
