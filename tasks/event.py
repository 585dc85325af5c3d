"""One event, as Prefect takes it, and the one that a recovery leaves behind: look at the rows now. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AwareDatetime, JsonValue

from blocks.ledger.records import Run
from tasks.model import Frozen

NAMESPACE = uuid5(NAMESPACE_URL, "https://salvor/events")
REASON_LENGTH = 500
CONCLUDED = "salvor.recovery.concluded"
LOOK = "consistency-check"  #: the procedure that looks at rows


class Payload(Frozen):
    """What every event carries; no key is ever left out."""

    procedure: str
    target: str
    reason: str
    requested_by: str
    alert: str  #: the fingerprint of what caused it
    severity: str
    source: str
    dry_run: bool
    started_at: str  #: ISO 8601, when the trouble began as far as the source knows


class RecoveryEvent(Frozen):
    """One event, as Prefect takes it."""

    name: str
    id: UUID
    occurred: AwareDatetime
    subject: str
    payload: Payload

    @property
    def resource(self) -> str:
        """What the event is about; automations match on it."""
        return f"recovery.{self.subject}.{self.payload.target}"

    def body(self) -> dict[str, JsonValue]:
        """Return the JSON object that POST /api/events takes."""
        return {
            "id": str(self.id),
            "event": self.name,
            "occurred": self.occurred.astimezone(UTC).isoformat(),
            "resource": {
                "prefect.resource.id": self.resource,
                "prefect.resource.name": self.payload.target,
                "salvor.procedure": self.payload.procedure,
                "salvor.dry-run": "yes" if self.payload.dry_run else "no",
            },
            "related": [],
            "payload": self.payload.model_dump(mode="json"),
        }


def concluded(run: Run, databases: Iterable[str], occurred: datetime) -> list[RecoveryEvent]:
    """Say of each database that what it lives on was recovered by RUN, so that its rows are looked at.

    The event carries no alert: that of the run is over, and whatever has not begun for it by then is cancelled.
    """
    return [
        RecoveryEvent(
            name=CONCLUDED,
            id=uuid5(NAMESPACE, f"{CONCLUDED}\n{run.id}\n{database}"),
            occurred=occurred,
            subject=LOOK.partition("-")[0],
            payload=Payload(
                procedure=LOOK,
                target=database,
                reason=f"{run.procedure} on {run.target} has ended"[:REASON_LENGTH],
                requested_by=run.procedure,
                alert="",
                severity="info",
                source="salvor",
                dry_run=False,
                started_at=run.started_at.astimezone(UTC).isoformat(),
            ),
        )
        for database in dict.fromkeys(databases)
    ]
