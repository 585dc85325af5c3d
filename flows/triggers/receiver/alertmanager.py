"""Alertmanager's webhook (version 4) in our words. Pure."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from flows.triggers.events import PROCEDURE_LABEL, TARGET_LABEL, Signal, printable


class LabelledAlert(BaseModel):
    """One alert of a group; Grafana sends the same shape."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    starts_at: AwareDatetime = Field(alias="startsAt")
    fingerprint: str = Field(min_length=1, max_length=255)

    def named(self, label: str) -> str:
        """Return what LABEL says, else the annotation of the same name."""
        return (self.labels.get(label) or self.annotations.get(label) or "").strip()

    @property
    def alert_name(self) -> str:
        """The rule's name."""
        return self.labels.get("alertname", "")

    def signal(self, source: str, raw: dict[str, Any], why_not: str = "") -> Signal:
        """Return the alert in our words."""
        said = self.annotations.get("summary") or self.annotations.get("description") or "no summary"
        return Signal(
            source=source,
            fingerprint=self.fingerprint,
            starts_at=self.starts_at,
            status=self.status,
            name=printable(self.alert_name),
            severity=printable(self.named("severity"), 32),
            procedure=self.named(PROCEDURE_LABEL),
            target=self.named(TARGET_LABEL),
            reason=printable(f"{self.alert_name or 'Unnamed alert'}: {said}"),
            requested_by=source,
            why_not=why_not,
            raw=raw,
        )


class Delivery(BaseModel):
    """One POST of Alertmanager: a group of alerts, firing and resolved ones mixed."""

    version: Literal["4"]
    alerts: list[LabelledAlert]


def translate(body: dict[str, Any]) -> tuple[Signal, ...]:
    """Return every alert of the group; each has its own status, the group's says nothing of the single one."""
    delivery = Delivery.model_validate(body)
    return tuple(a.signal("alertmanager", raw) for a, raw in zip(delivery.alerts, body["alerts"], strict=True))
