"""The grammar of events: how an alert, a request or a detection becomes one Prefect event. Pure.

Every event has the name `<source>.<thing>.<past participle>`, the resource `recovery.<subject>.<target>` and a payload
with every key, always: an automation whose template misses a key starts nothing and tells nobody.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from pydantic import AwareDatetime, Field

from blocks.ledger.records import InboundAlert
from tasks.event import NAMESPACE, REASON_LENGTH, Payload, RecoveryEvent
from tasks.model import Frozen

Status = Literal["firing", "resolved"]

#: Where an alert says what it wants: labels in Alertmanager and Grafana, details or custom fields elsewhere.
PROCEDURE_LABEL = "salvor_procedure"
TARGET_LABEL = "salvor_target"

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

EVENT_NAMES: dict[tuple[str, Status], str] = {
    ("alertmanager", "firing"): "alertmanager.alert.fired",
    ("alertmanager", "resolved"): "alertmanager.alert.resolved",
    ("grafana", "firing"): "grafana.alert.fired",
    ("grafana", "resolved"): "grafana.alert.resolved",
    ("pagerduty", "firing"): "pagerduty.incident.triggered",
    ("pagerduty", "resolved"): "pagerduty.incident.resolved",
    ("generic", "firing"): "generic.alert.fired",
    ("generic", "resolved"): "generic.alert.resolved",
    ("operator", "firing"): "operator.recovery.requested",
    ("sentinel", "firing"): "sentinel.primary.lost",
    ("sentinel", "resolved"): "sentinel.primary.returned",
}
CONFLICTED = "sentinel.primaries.conflicted"


class Signal(Frozen):
    """What a source said, in our words: the same for all sources."""

    source: str
    fingerprint: str = Field(min_length=1, max_length=255)
    starts_at: AwareDatetime
    status: Status
    name: str = ""
    severity: str = ""
    procedure: str = ""
    target: str = ""
    reason: str = ""
    requested_by: str = ""
    dry_run: bool = False
    informs: bool = False  #: its event tells, and starts nothing: it names no procedure
    why_not: str = ""  #: why this signal must not start anything, however well it names a procedure
    raw: dict[str, Any] = Field(default_factory=dict)

    @property
    def objection(self) -> str:
        """Say why nothing is started by it; empty when it names a procedure and a target in the right form."""
        if self.why_not:
            return self.why_not
        if not self.procedure:
            return f"stored, no procedure named (label {PROCEDURE_LABEL})"
        if not self.target:
            return f"stored, no target named (label {TARGET_LABEL})"
        wrong = [n for n in (self.procedure, self.target) if not well_named(n)]
        return f"stored, {wrong[0]!r} is not a name: lower-case letters, digits and dashes" if wrong else ""

    def inbound(self) -> InboundAlert:
        """Return what the ledger keeps of it."""
        return InboundAlert(
            source=self.source,
            fingerprint=self.fingerprint,
            starts_at=self.starts_at,
            status=self.status,
            name=self.name,
            severity=self.severity[:32],
            procedure=self.procedure[:255],
            target=self.target[:255],
            payload=self.raw,
        )

    def event(self, occurred: datetime) -> RecoveryEvent:
        """Return the event it becomes; its subject is the first word of the procedure (postgres-failover: postgres)."""
        return RecoveryEvent(
            name=CONFLICTED if self.informs else EVENT_NAMES[self.source, self.status],
            id=event_id(self.source, self.fingerprint, self.starts_at, self.status),
            occurred=occurred,
            subject=self.procedure.partition("-")[0],
            payload=Payload(
                procedure="" if self.informs else self.procedure,
                target=self.target,
                reason=self.reason[:REASON_LENGTH],
                requested_by=self.requested_by or self.source,
                alert=self.fingerprint,
                severity=self.severity,
                source=self.source,
                dry_run=self.dry_run,
                started_at=self.starts_at.astimezone(UTC).isoformat(),
            ),
        )


def well_named(name: str) -> bool:
    """Whether NAME can be a procedure or a target: what Prefect allows for block documents."""
    return len(name) <= 100 and NAME.fullmatch(name) is not None  # noqa: PLR2004 - as long as a resource id bears


def event_id(source: str, fingerprint: str, starts_at: datetime, status: Status) -> UUID:
    """Derive the id from the alert: Prefect starts nothing for an id it has seen, so one alert starts one run."""
    return uuid5(NAMESPACE, "\n".join((source, fingerprint, starts_at.astimezone(UTC).isoformat(), status)))


def printable(text: str, limit: int = REASON_LENGTH) -> str:
    """Strip what a stranger could put into a terminal or a log line, and cut it to LIMIT."""
    return "".join(c if c.isprintable() else " " for c in text)[:limit].strip()
