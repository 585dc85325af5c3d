"""A storm: everybody who can see that a primary died says so, several times, at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from blocks.ledger.schema import alerts, outbox
from tasks.model import Outcome
from tests.drills.alarm import delivery, tell
from tests.drills.theatre import PROMOTED, said
from tests.drills.ward import Ward
from tests.drills.witness import assert_rows_kept
from tests.lab.app import App

pytestmark = pytest.mark.drill
SOURCES = {"alertmanager", "grafana", "sentinel", "ada"}


def test_a_storm_of_alerts_makes_one_failover(ward: Ward) -> None:
    """Two sentinels, five identical alerts, another system and a person: one failover, and one message to people."""
    lab = ward.lab
    with ward.sentinels(2), App(lab) as app:
        app.await_writes()
        lab.kill_node("n1")
        # Not before, or the failover might be over before a sentinel can be sure that there is something to tell.
        ward.until(lambda: "sentinel" in told(ward), 30, "a sentinel to tell", step=0.005)
        storm(ward)
        ward.until(lambda: sources(ward) == SOURCES, 60, "every source to have started one run")
        ward.until(lambda: not any(run.active for run in ward.of_target()), 60, "all of them to end")
        app.await_writes()
    outcomes = sorted(str(run.outcome) for run in ward.of_target())
    assert outcomes == [Outcome.NOTHING_TO_DO] * 3 + [Outcome.RECOVERED]
    assert lab.nodes[lab.primary()].timeline() == 2
    assert sum(PROMOTED in line for node in lab.nodes.values() for line in said(node)) == 1
    assert messages(ward) == ["inform"]
    assert_rows_kept(app)


def storm(ward: Ward) -> None:
    """Tell it all at once."""
    began = datetime.now(UTC)
    identical = delivery(ward.target, began, version="4", groupKey="{}:{}")
    calls = [("/hooks/alertmanager", identical)] * 5
    calls += [("/hooks/grafana", delivery(ward.target, began, version="1"))]
    calls += [("/recover/postgres-failover", {"target": ward.target, "requested_by": "ada", "reason": "it is down"})]
    with ThreadPoolExecutor(len(calls)) as callers:
        list(callers.map(lambda call: tell(ward.plane, *call), calls))


def told(ward: Ward) -> set[str]:
    """Say who has told of this target."""
    with ward.ledger.read() as connection:
        return set(connection.execute(select(alerts.c.source).where(alerts.c.target == ward.target)).scalars())


def sources(ward: Ward) -> set[str]:
    """Say who has started a run."""
    return {run.requested_by for run in ward.of_target()}


def messages(ward: Ward) -> list[str]:
    """List what people were told about this target, by urgency."""
    with ward.ledger.read() as connection:
        sent = connection.execute(select(outbox.c.payload).where(outbox.c.kind == "notification")).scalars()
        return [each["urgency"] for each in sent if each["about"].endswith(f" {ward.target}")]
