"""PagerDuty's V3 webhooks in our words. Pure.

An incident names its procedure and target in its details (`salvor_procedure: postgres-failover`, one a line, or a JSON
object), in custom fields of the same names, or by custom headers of the webhook subscription (X-Salvor-Procedure,
X-Salvor-Target), which is the way that needs nothing in the incident: one subscription per service.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from flows.triggers.events import PROCEDURE_LABEL, TARGET_LABEL, Signal, Status, printable

#: Event types that mean something to us; all others (acknowledged, annotated, pings …) are stored nowhere.
STATUSES: dict[str, Status] = {
    "incident.triggered": "firing",
    "incident.reopened": "firing",
    "incident.resolved": "resolved",
}


class CustomField(BaseModel):
    """One custom field of an incident."""

    name: str
    value: Any = None


class Body(BaseModel):
    """The incident's text: a string, or what an integration sent."""

    details: str | dict[str, Any] = ""


class Reference(BaseModel):
    """A thing PagerDuty refers to."""

    summary: str = ""


class Incident(BaseModel):
    """The part of an incident that matters here."""

    id: str = Field(min_length=1, max_length=200)
    title: str = ""
    urgency: str = ""
    created_at: AwareDatetime
    priority: Reference | None = None
    service: Reference | None = None
    body: Body | None = None
    custom_fields: list[CustomField] = Field(default_factory=list)

    def words(self) -> dict[str, str]:
        """Return what details and custom fields say, by name; a custom field wins."""
        details = self.body.details if self.body else ""
        pairs = (
            details.items()
            if isinstance(details, dict)
            else (line.partition(":")[::2] for line in details.splitlines() if ":" in line)
        )
        said = {str(k).strip(): str(v).strip() for k, v in pairs}
        return said | {f.name: str(f.value).strip() for f in self.custom_fields if f.value is not None}


class Event(BaseModel):
    """What happened to a resource."""

    event_type: str
    resource_type: Literal["incident", "pagey", "service"] | str = "incident"  # noqa: PYI051 - says what to expect
    occurred_at: AwareDatetime
    data: dict[str, Any]


class Delivery(BaseModel):
    """One POST of a V3 webhook subscription."""

    event: Event


def translate(body: dict[str, Any], named: Mapping[str, str] | None = None) -> tuple[Signal, ...]:
    """Return the incident's opening or end; nothing for other events. NAMED is from the subscription's headers."""
    event = Delivery.model_validate(body).event
    status = STATUSES.get(event.event_type)
    if status is None:
        return ()
    incident = Incident.model_validate(event.data)
    words = incident.words() | dict(named or {})
    service = incident.service.summary if incident.service else ""
    return (
        Signal(
            source="pagerduty",
            fingerprint=incident.id,
            # A reopened incident is a new episode, and its end a new end: by the creation both would be duplicates.
            starts_at=incident.created_at if event.event_type == "incident.triggered" else event.occurred_at,
            status=status,
            name=printable(incident.title),
            severity=printable(incident.priority.summary if incident.priority else incident.urgency, 32),
            procedure=words.get(PROCEDURE_LABEL, ""),
            target=words.get(TARGET_LABEL, ""),
            reason=printable(f"{service}: {incident.title}" if service else incident.title),
            requested_by="pagerduty",
            raw=body,
        ),
    )
