"""Grafana alerting's webhook contact point (payload version 1) in our words. Pure."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from flows.triggers.events import Signal
from flows.triggers.receiver.alertmanager import LabelledAlert

#: Raised with the rule's own labels when a rule could not be evaluated: Grafana's source is ill, not our target.
NOT_ABOUT_THE_TARGET = frozenset({"DatasourceNoData", "DatasourceError"})


class Delivery(BaseModel):
    """One POST of a Grafana contact point."""

    version: Literal["1"]
    alerts: list[LabelledAlert]


def translate(body: dict[str, Any]) -> tuple[Signal, ...]:
    """Return every alert of the group; an alert about Grafana's own data source never starts a recovery."""
    delivery = Delivery.model_validate(body)
    return tuple(
        a.signal("grafana", raw, why_not=objection(a)) for a, raw in zip(delivery.alerts, body["alerts"], strict=True)
    )


def objection(alert: LabelledAlert) -> str:
    """Say why ALERT starts nothing; empty when it may."""
    if alert.alert_name in NOT_ABOUT_THE_TARGET:
        return f"stored, {alert.alert_name} speaks of Grafana's data source and not of the target"
    return ""
