"""What the receiver and the sentinel ask of the ledger, and its figures, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from blocks.ledger import alerts, claims, intake, outbox, positions, runs
from blocks.ledger.block import Ledger
from blocks.ledger.figures import count
from blocks.ledger.records import Ending, InboundAlert, NewRun, Position
from blocks.ledger.schema import runs as runs_table

AT = datetime(2026, 11, 22, 3, 10, tzinfo=UTC)


def inbound(fingerprint: str = "f1", status: str = "firing", minutes: float = 0) -> InboundAlert:
    at = AT + timedelta(minutes=minutes)
    return InboundAlert.model_validate(
        {"source": "generic", "fingerprint": fingerprint, "starts_at": at, "status": status}
    )


def stored(ledger: Ledger, alert: InboundAlert) -> str:
    alerts.store(ledger, alert, event={"event": alert.fingerprint})
    return alerts.identify(alert)


def test_a_parcel_is_delivered_once(ledger: Ledger) -> None:
    """Whoever pushes it says so, and the sweep finds nothing to do."""
    key = stored(ledger, inbound())
    assert intake.waiting(ledger, "event", key)
    intake.delivered(ledger, "event", key)
    assert not intake.waiting(ledger, "event", key)
    assert outbox.due(ledger) == []
    intake.delivered(ledger, "event", "unknown")


def test_only_the_events_of_what_is_over_are_withdrawn(ledger: Ledger) -> None:
    """Not another alert's, not a later episode's, and nothing twice."""
    over, other, later = inbound(), inbound("f2"), inbound(minutes=10)
    keys = [stored(ledger, a) for a in (over, other, later)]
    assert intake.withdraw(ledger, "grafana", "f1", AT + timedelta(minutes=5)) == 0
    assert intake.withdraw(ledger, "generic", "f1", AT + timedelta(minutes=5)) == 1
    assert intake.withdraw(ledger, "generic", "f1", AT + timedelta(minutes=5)) == 0
    assert [intake.waiting(ledger, "event", k) for k in keys] == [False, True, True]


def test_an_end_that_was_told_first(ledger: Ledger) -> None:
    """It ends what began by then, and nothing that begins later or elsewhere."""
    stored(ledger, inbound(status="resolved"))
    assert intake.is_over(ledger, "generic", "f1", AT)
    assert not intake.is_over(ledger, "generic", "f1", AT + timedelta(seconds=1))
    assert not intake.is_over(ledger, "generic", "f2", AT)
    assert not intake.is_over(ledger, "grafana", "f1", AT)


def test_whether_a_run_has_begun(ledger: Ledger) -> None:
    """A run that registered counts, ended or not; another alert's does not."""
    runs.register(ledger, NewRun(flow_run_id="r1", procedure="p", target="t", alert="f1"))
    assert intake.has_begun(ledger, "f1")
    assert not intake.has_begun(ledger, "f2")


def test_the_first_time_is_the_time(ledger: Ledger) -> None:
    """Whoever asks again is told when it was first asked, to the microsecond."""
    first = intake.first_asked(ledger, "request/1", "ann")
    assert intake.first_asked(ledger, "request/1", "bob") == first
    assert intake.first_asked(ledger, "request/2", "ann") > first
    assert not claims.claim_event(ledger, "request/1", "bob")


def test_an_empty_ledger_has_figures(ledger: Ledger) -> None:
    """Nothing is counted, and nothing fails."""
    seen = count(ledger)
    assert (seen.runs, seen.alerts, seen.position_age_seconds, seen.holds) == ((), (), {}, 0)
    assert [(o.kind, o.waiting) for o in seen.outbox] == [("event", 0), ("notification", 0), ("run", 0)]


def test_figures_of_a_run_know_when_the_trouble_began(ledger: Ledger) -> None:
    """The latest firing of its alert before it started; a run by hand has none."""
    now = datetime.now(UTC)
    for minutes in (-60, -10, 10):
        begun = (now - AT).total_seconds() / 60 + minutes
        stored(ledger, inbound(minutes=begun))
    runs.register(ledger, NewRun(flow_run_id="r1", procedure="p", target="t", alert="f1"))
    runs.register(ledger, NewRun(flow_run_id="r2", procedure="p", target="t"))
    runs.close(ledger, "r1", Ending(outcome="Recovered", why="", operation="done"))
    positions.record(ledger, Position(resource="r", node="n1", lsn=1, timeline=1, at=now - timedelta(seconds=30)))
    with ledger.begin() as connection:
        connection.execute(update(runs_table).where(runs_table.c.id == "r2").values(swept_at=now))
    seen = count(ledger)
    by_outcome = {r.outcome: r for r in seen.runs}
    trouble = by_outcome["Recovered"].trouble_at
    assert trouble
    assert abs((now - trouble) - timedelta(minutes=10)) < timedelta(seconds=1)
    assert by_outcome[None].trouble_at is None
    assert by_outcome[None].swept_at is not None
    assert 29 < seen.position_age_seconds["r"] < 60
    assert [(a.source, a.status, a.alerts, a.deliveries) for a in seen.alerts] == [("generic", "firing", 3, 3)]
    assert seen.outbox[0].waiting == 3
