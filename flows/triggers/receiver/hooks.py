"""The routes that alerting systems call: limited, let in, read, understood, stored, answered, in that order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from blocks.intake import Intake, revealed
from flows.triggers.dispatch import Dispatcher, Filed, file
from flows.triggers.events import PROCEDURE_LABEL, TARGET_LABEL, Signal
from flows.triggers.receiver import alertmanager, generic, grafana, pagerduty, signatures
from flows.triggers.receiver.limits import Buckets, Rejection, parse, read_body

T = TypeVar("T")
Judge = Callable[[Mapping[str, str], bytes, list[str], float], str]
#: A subscription of PagerDuty can carry headers of its own; they name what its service's incidents shall start.
SUBSCRIPTION_HEADERS = {"x-salvor-procedure": PROCEDURE_LABEL, "x-salvor-target": TARGET_LABEL}


class Door:
    """Lets callers in by token or signature, each no more often than is sane."""

    def __init__(self, intake: Intake, calls: Buckets, mistakes: Buckets) -> None:
        """Bound every caller by CALLS and guessing by MISTAKES."""
        self.intake = intake
        self.calls = calls
        self.mistakes = mistakes

    def count(self, request: Request) -> None:
        """Reject a caller who comes too often."""
        self.calls.spend(caller(request), time.monotonic(), "Too many calls: group the alerts, or wait.")

    def by_token(self, request: Request, tokens: list[str]) -> None:
        """Let in who knows one of TOKENS."""
        if not signatures.known_token(request.headers.get("authorization", ""), tokens):
            self.refuse(request, "Send the header `Authorization: Bearer <token of the Intake block>`.")

    def by_signature(self, request: Request, body: bytes, judge: Judge, secrets: list[str]) -> None:
        """Let in who signed BODY with one of SECRETS."""
        if why := judge(request.headers, body, secrets, time.time()):
            self.refuse(request, why)

    def refuse(self, request: Request, sentence: str) -> None:
        """Answer 401; who is wrong too often must wait, so that nobody can try many secrets."""
        self.mistakes.spend(caller(request), time.monotonic(), "Too many calls with a wrong token or signature.")
        raise Rejection(401, sentence)


def caller(request: Request) -> str:
    """Name the caller by address; behind a load balancer uvicorn takes it from X-Forwarded-For."""
    return request.client.host if request.client else "unknown"


def understand(translate: Callable[[], T]) -> T:
    """Translate, or say which field is wrong."""
    try:
        return translate()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Rejection(400, f"This is not a message that Salvor knows: {where}: {first['msg']}.") from None


def answer(filed: list[Filed]) -> Response:
    """Say what became of every signal."""
    return JSONResponse(
        {
            "stored": sum(f.new for f in filed),
            "duplicates": sum(not f.new for f in filed),
            "alerts": [f.model_dump(mode="json", exclude={"event", "key"}) for f in filed],
        }
    )


def file_each(dispatcher: Dispatcher, signals: tuple[Signal, ...]) -> list[Filed]:
    """Store every signal; a ledger that does not answer makes the sender try again."""
    return [file(dispatcher.ledger, s, dispatcher.known) for s in signals]


class Hooks:
    """One method per source."""

    def __init__(self, door: Door, dispatcher: Dispatcher) -> None:
        """Let in by DOOR, send on by DISPATCHER."""
        self.door = door
        self.dispatcher = dispatcher

    async def alertmanager(self, request: Request) -> Response:
        """Take a group from Alertmanager."""
        self.door.count(request)
        self.door.by_token(request, self.door.intake.alerts)
        body = parse(await read_body(request))
        return await self._take(partial(alertmanager.translate, body))

    async def grafana(self, request: Request) -> Response:
        """Take a group from Grafana, by signature when it sends one and secrets are set, else by token."""
        self.door.count(request)
        secrets = revealed(self.door.intake.grafana_secrets)
        signed = bool(secrets) and signatures.GRAFANA_SIGNATURE in request.headers
        if not signed:
            self.door.by_token(request, self.door.intake.alerts)
        raw = await read_body(request)
        if signed:
            self.door.by_signature(request, raw, signatures.judge_grafana, secrets)
        return await self._take(partial(grafana.translate, parse(raw)))

    async def pagerduty(self, request: Request) -> Response:
        """Take an event from a PagerDuty subscription."""
        self.door.count(request)
        raw = await read_body(request)
        secrets = revealed(self.door.intake.pagerduty_secrets)
        self.door.by_signature(request, raw, signatures.judge_pagerduty, secrets)
        named = {label: request.headers[h] for h, label in SUBSCRIPTION_HEADERS.items() if h in request.headers}
        return await self._take(partial(pagerduty.translate, parse(raw), named))

    async def generic(self, request: Request) -> Response:
        """Take a signed alert from a source of your own."""
        self.door.count(request)
        raw = await read_body(request)
        self.door.by_signature(request, raw, signatures.judge_generic, revealed(self.door.intake.generic_secrets))
        return await self._take(partial(generic.translate, parse(raw)))

    async def _take(self, translate: Callable[[], tuple[Signal, ...]]) -> Response:
        filed = await asyncio.to_thread(file_each, self.dispatcher, understand(translate))
        for one in filed:
            self.dispatcher.push(one)
        return answer(filed)


Endpoint = Callable[[Request], Awaitable[Response]]


def rejected(_request: Request, rejection: Exception) -> Response:
    """Answer a rejection with its sentence."""
    assert isinstance(rejection, Rejection)  # noqa: S101 - Starlette calls this for nothing else
    # The rest of the body is not wanted, and a caller who goes on sending must not keep us reading.
    headers = {"Connection": "close"}
    headers |= {"Retry-After": str(rejection.retry_after)} if rejection.retry_after else {}
    headers |= {"WWW-Authenticate": "Bearer"} if rejection.status == 401 else {}  # noqa: PLR2004 - unauthorised
    return JSONResponse({"error": rejection.sentence}, status_code=rejection.status, headers=headers)
