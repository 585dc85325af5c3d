"""Salvor's own shapes: the signed webhook for anything that can compute an HMAC, and the request of a person. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from flows.triggers.events import Signal, printable


class Delivery(BaseModel):
    """One alert from a source of your own; unknown keys are refused, so that a typo does not go unseen."""

    model_config = ConfigDict(extra="forbid")

    version: Literal["1"]
    fingerprint: str = Field(min_length=1, max_length=255, description="The same for every message about one trouble.")
    status: Literal["firing", "resolved"]
    started_at: AwareDatetime = Field(description="When the trouble began; the same in the resolved message.")
    procedure: str = Field(default="", max_length=100)
    target: str = Field(default="", max_length=100)
    name: str = Field(default="", max_length=200)
    reason: str = Field(default="", max_length=2000)
    requested_by: str = Field(default="", max_length=200)
    severity: str = Field(default="", max_length=32)
    dry_run: bool = False


class Request(BaseModel):
    """What a person or a script asks for by POST /recover/{procedure}."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(min_length=1, max_length=100, description="Name of the target's block, e.g. orders.")
    reason: str = Field(min_length=3, max_length=2000, description="Why; it stands in the report.")
    requested_by: str = Field(min_length=2, max_length=200, description="Who asks; cannot approve the same run.")
    dry_run: bool = False


def translate(body: dict[str, Any]) -> tuple[Signal, ...]:
    """Return the alert in our words."""
    said = Delivery.model_validate(body)
    return (
        Signal(
            source="generic",
            fingerprint=said.fingerprint,
            starts_at=said.started_at,
            status=said.status,
            name=printable(said.name),
            severity=printable(said.severity),
            procedure=said.procedure,
            target=said.target,
            reason=printable(said.reason or said.name or "no reason given"),
            requested_by=printable(said.requested_by, 200) or "generic",
            dry_run=said.dry_run,
            raw=body,
        ),
    )


def translate_request(procedure: str, body: dict[str, Any], at: datetime, request_id: str) -> Signal:
    """Return a person's request in our words; REQUEST_ID makes a repeated POST the same request."""
    asked = Request.model_validate(body)
    return Signal(
        source="operator",
        fingerprint=request_id,
        starts_at=at,
        status="firing",
        name="request",
        procedure=procedure,
        target=asked.target,
        reason=printable(asked.reason),
        requested_by=printable(asked.requested_by, 200),
        dry_run=asked.dry_run,
        raw=body,
    )
