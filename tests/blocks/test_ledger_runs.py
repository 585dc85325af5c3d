"""A run announces itself, lives, ends once; what it did is kept in order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from blocks.ledger import gate, orphans, outbox, runs, steps
from blocks.ledger.records import Ending, Notification
from blocks.ledger.schema import leases
from blocks.ledger.schema import runs as run_table
from tests.ledgers import claimed, intent, lease, new_run, silence, step

NOTE = Notification(urgency="page", title="t", body="b")
DONE = Ending(outcome="Recovered", why="all holds", report={"x": 1}, markdown="# Recovered", operation="done")


def test_a_run_is_entered_with_what_it_takes_to_start_it_again(ledger):
    """Deployment, parameters, who, why, and when it must show a sign of life."""
    run = new_run(ledger, parameters={"target": "orders", "n": [1]}, requested_by="ada", alert="f1", dry_run=True)

    assert (run.parameters, run.requested_by, run.alert, run.dry_run) == (
        {"target": "orders", "n": [1]}, "ada", "f1", True
    )  # fmt: skip
    assert (run.attempt, run.active) == (1, True)
    assert (run.heartbeat_until - run.started_at).total_seconds() == ledger.lease_seconds


def test_the_same_prefect_run_entered_again_takes_over_from_itself(ledger):
    """Retry in the UI: a second row, the first one is dead and not started again, its lease is free."""
    first, claim = claimed(ledger)
    second = new_run(ledger, flow_run_id=first.flow_run_id)

    assert second.id == f"{first.id}.2"
    assert runs.find(ledger, first.id).swept_at is not None
    assert lease(ledger).run_id is None
    assert gate.claim(ledger, second.id, intent()).token > claim.token
    assert orphans.sweep(ledger) == []


def test_an_ended_run_entered_again_keeps_its_first_end(ledger):
    """History is not overwritten."""
    first, _ = claimed(ledger)
    runs.close(ledger, first.id, DONE)
    new_run(ledger, flow_run_id=first.flow_run_id)

    assert runs.find(ledger, first.id).outcome == "Recovered"


def test_renewing_moves_the_heartbeat_and_the_lease(ledger):
    """Both, by the ledger's own clock."""
    run, _ = claimed(ledger)
    silence(ledger, run.id)
    assert runs.renew(ledger, run.id)

    assert runs.find(ledger, run.id).heartbeat_until > datetime.now(UTC)
    assert lease(ledger).expires_at > datetime.now(UTC)
    assert orphans.expired(ledger) == []


def test_a_dead_or_ended_run_cannot_renew(ledger):
    """Nor can one that nobody knows."""
    dead, _ = claimed(ledger)
    silence(ledger, dead.id)
    orphans.sweep(ledger)
    over = new_run(ledger)
    runs.close(ledger, over.id, DONE)

    assert [runs.renew(ledger, run_id) for run_id in (dead.id, over.id, "nobody")] == [False] * 3
    assert lease(ledger).run_id is None


def test_renewing_never_touches_somebody_elses_lease(ledger):
    """A late heartbeat of the old holder does not help, or harm, the new one."""
    old, _ = claimed(ledger)
    silence(ledger, old.id)
    claimed(ledger)
    with ledger.begin() as connection:
        moment = datetime.now(UTC) - timedelta(seconds=5)
        connection.execute(leases.update().values(expires_at=moment))
    assert not runs.renew(ledger, old.id)
    assert lease(ledger).expires_at == moment


def test_a_run_that_hangs_far_beyond_its_time_is_not_kept_alive(ledger):
    """Twice its time-out, and the sweep may have it."""
    run, _ = claimed(ledger, timeout_seconds=60)
    for late, alive in [(59, True), (119, True), (121, False)]:
        with ledger.begin() as connection:
            deadline = datetime.now(UTC) - timedelta(seconds=late - 60)
            connection.execute(run_table.update().values(deadline_at=deadline))
        assert runs.renew(ledger, run.id) is alive


def test_a_run_that_is_given_up_is_swept_at_once(ledger):
    """Its process was told to stop; nobody waits for the lease to run out."""
    run, _ = claimed(ledger)
    runs.abandon(ledger, run.id)

    assert [dead.id for dead in orphans.sweep(ledger)] == [run.id]


def test_giving_up_an_ended_run_changes_nothing(ledger):
    """The end came first."""
    run, _ = claimed(ledger)
    runs.close(ledger, run.id, DONE)
    runs.abandon(ledger, run.id)

    assert orphans.sweep(ledger) == []


def test_an_end_is_written_whole(ledger):
    """Outcome, sentence, report, lease, operation, notification and events in one transaction."""
    run, _ = claimed(ledger)
    assert runs.close(ledger, run.id, DONE, NOTE, {"e1": {"event": "salvor.recovery.concluded"}})

    row = runs.find(ledger, run.id)
    assert (row.outcome, row.why, row.report, row.markdown) == ("Recovered", "all holds", {"x": 1}, "# Recovered")
    assert (row.active, lease(ledger).run_id) == (False, None)
    note, event = outbox.undelivered(ledger)
    assert (note.kind, note.payload["title"]) == ("notification", "t")
    assert (event.kind, event.key, event.payload) == ("event", "e1", {"event": "salvor.recovery.concluded"})


def test_a_run_ends_once(ledger):
    """The same end may be told twice, another one may not; people are told once."""
    run, _ = claimed(ledger)
    ends = [runs.close(ledger, run.id, DONE, NOTE) for _ in range(2)]
    other = runs.close(ledger, run.id, Ending(outcome="Refused", why="no"), NOTE, {"e1": {}})

    assert (ends, other) == ([True, True], False)
    assert runs.find(ledger, run.id).outcome == "Recovered"
    assert len(outbox.undelivered(ledger)) == 1


def test_a_run_that_was_declared_dead_cannot_end(ledger):
    """Its successor owns the story: no outcome, no notification, and its lease stays as it is."""
    old, _ = claimed(ledger)
    silence(ledger, old.id)
    new, _ = claimed(ledger)

    assert not runs.close(ledger, old.id, DONE, NOTE, {"e1": {}})
    assert (runs.find(ledger, old.id).outcome, lease(ledger).run_id) == (None, new.id)
    assert outbox.undelivered(ledger) == []


def test_history_is_newest_first_and_says_what_metrics_count(ledger):
    """Procedure, outcome, when, active."""
    first, _ = claimed(ledger)
    runs.close(ledger, first.id, DONE)
    second = new_run(ledger, "fake-switchover")

    seen = [(run.procedure, run.outcome, run.active) for run in runs.history(ledger)]
    assert seen == [("fake-switchover", None, True), ("fake-failover", "Recovered", False)]
    assert [run.id for run in runs.history(ledger, limit=1)] == [second.id]
    assert runs.history(ledger, since=datetime.now(UTC) + timedelta(minutes=1)) == []


def test_the_timeline_keeps_what_each_act_found(ledger):
    """In the order in which they were begun; one that never ended has no end."""
    run, claim = claimed(ledger)
    for name, found, error in [("fence", "stopped", ""), ("promote", "", "no answer")]:
        it = step(run.id, name)
        steps.begin_step(ledger, run.id, claim.token, it)
        steps.end_step(ledger, it.id, found=found, error=error)
    steps.begin_step(ledger, run.id, claim.token, step(run.id, "route"))

    line = [(s.name, s.found, s.error, s.ended_at is None) for s in steps.timeline(ledger, run.id)]
    assert line == [("fence", "stopped", "", False), ("promote", "", "no answer", False), ("route", "", "", True)]


def test_an_act_entered_twice_is_one_act(ledger):
    """The answer to the first entry was lost."""
    run, claim = claimed(ledger)
    it = step(run.id)
    for _ in range(2):
        steps.begin_step(ledger, run.id, claim.token, it)

    assert len(steps.timeline(ledger, run.id)) == 1


def test_a_successors_timeline_begins_with_what_the_dead_run_did(ledger):
    """The report shows who fenced, although it was another process; other runs do not show."""
    first, claim = claimed(ledger)
    steps.begin_step(ledger, first.id, claim.token, step(first.id, "fence"))
    silence(ledger, first.id)
    orphans.sweep(ledger)
    second, claim = claimed(ledger)
    steps.begin_step(ledger, second.id, claim.token, step(second.id, "promote"))

    assert [s.name for s in steps.timeline(ledger, second.id)] == ["fence", "promote"]
    assert [s.name for s in steps.timeline(ledger, first.id)] == ["fence"]


def test_an_act_keeps_the_run_alive(ledger):
    """A run that was stopped for a while and goes on before anybody took over is alive again."""
    run, claim = claimed(ledger)
    silence(ledger, run.id)
    steps.begin_step(ledger, run.id, claim.token, step(run.id))

    assert orphans.sweep(ledger) == []
    assert lease(ledger).expires_at > datetime.now(UTC)


@pytest.mark.parametrize("mark", [runs.reported, runs.settled])
def test_what_was_told_is_remembered(ledger, mark):
    """So that the sweep does not tell it for ever."""
    run, _ = claimed(ledger)
    runs.close(ledger, run.id, DONE)
    with ledger.begin() as connection:
        connection.execute(run_table.update().values(ended_at=datetime.now(UTC) - timedelta(hours=1)))
    assert [it.id for it in orphans.unsettled(ledger)] == [run.id]
    mark(ledger, run.id)

    assert len(orphans.unsettled(ledger)) == (1 if mark is runs.reported else 0)
