"""The gate: who gets the lease, who is told why not, and that the old holder can write no more."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from blocks.errors import LeaseLost, StandDown
from blocks.ledger import alerts, gate, holds, orphans, runs, steps
from blocks.ledger.records import Ending, InboundAlert
from blocks.ledger.schema import operations
from tests.ledgers import RESOURCE, claimed, intent, lease, new_run, silence, step


def finish(ledger, run, operation="done", outcome="Recovered"):
    assert runs.close(ledger, run.id, Ending(outcome=outcome, why="because", operation=operation))


def refusal(ledger, run, wanted):
    """Ask the gate, which must say no, and must have said so beforehand."""
    foretold = gate.foretell(ledger, run.id, wanted)
    with pytest.raises(StandDown) as caught:
        gate.claim(ledger, run.id, wanted)
    assert timeless(foretold) == timeless(str(caught.value))
    return caught.value


def timeless(sentence):
    return re.sub(r"\d+ s ago", "just now", sentence)


def act(ledger, run, claim, name="fence"):
    it = step(run.id, name)
    steps.begin_step(ledger, run.id, claim.token, it)
    steps.end_step(ledger, it.id, found="done")


def test_a_free_target_is_claimed(ledger):
    """The first run gets the lease, a token and an open operation."""
    run, claim = claimed(ledger)

    assert (claim.token, claim.attempts, claim.adopted, claim.approved) == (1, 1, False, False)
    assert lease(ledger).run_id == run.id
    assert runs.find(ledger, run.id).resource == RESOURCE


def test_the_same_claim_twice_is_one_claim(ledger):
    """A claim whose answer was lost may be repeated: same token, no further attempt."""
    run, first = claimed(ledger)
    second = gate.claim(ledger, run.id, intent(min_interval_seconds=0))

    assert (second.token, second.attempts) == (first.token, first.attempts)


def test_a_second_run_of_the_same_procedure_has_nothing_to_do(ledger):
    """Five identical alerts start one failover."""
    run, _ = claimed(ledger)
    no = refusal(ledger, new_run(ledger), intent())

    assert no.outcome == "NothingToDo"
    assert str(no) == f"Run {run.id} is already on it."


def test_another_procedure_is_refused_while_one_runs(ledger):
    """A switchover must not begin in the middle of a failover."""
    run, _ = claimed(ledger)
    no = refusal(ledger, new_run(ledger, "fake-switchover"), intent("k2"))

    assert no.outcome == "Refused"
    assert f"is held by fake-failover (run {run.id})" in str(no)


def test_another_procedure_is_refused_while_an_operation_is_unfinished(ledger):
    """The lease of a dead run is free, but what it began must be brought to an end first."""
    run, _ = claimed(ledger)
    silence(ledger, run.id)
    orphans.sweep(ledger)

    no = refusal(ledger, new_run(ledger, "fake-switchover"), intent("k2"))

    assert no.outcome == "Refused"
    assert "fake-failover was begun" in str(no)


@pytest.mark.parametrize("resource", ["*", RESOURCE, "orders"])
def test_what_is_held_is_refused(ledger, resource):
    """The kill switch names the reason, who set it, and how to lift it."""
    until = datetime.now(UTC) + timedelta(hours=1)
    holds.hold(ledger, resource, until, "storage is being moved", "ada")
    no = refusal(ledger, new_run(ledger), intent())

    assert no.outcome == "Refused"
    assert "by ada: storage is being moved" in str(no)
    assert f"run recovery-hold on `{resource}` with 0 hours" in str(no)


@pytest.mark.parametrize(
    ("resource", "starts", "ends"),
    [("billing", 0, 1), ("recovery.fake.order", 0, 1), ("*", 1, 2), ("*", -2, -1)],
)
def test_other_targets_and_other_times_are_not_held(ledger, resource, starts, ends):
    """A hold on another target, a freeze that has not begun, and one that is over hold nothing."""
    at = datetime.now(UTC)
    holds.hold(ledger, resource, at + timedelta(hours=ends), "x", "ada", starts_at=at + timedelta(hours=starts))

    claimed(ledger)


def test_a_lifted_hold_holds_nothing(ledger):
    """Lifting ends it at once, and says how many there were."""
    holds.hold(ledger, "*", datetime.now(UTC) + timedelta(hours=1), "x", "ada")
    assert holds.lift(ledger, "*", "bob") == 1
    assert holds.lift(ledger, "*", "bob") == 0

    claimed(ledger)


def test_placing_a_hold_is_possible_while_everything_is_held(ledger):
    """Otherwise the kill switch could never be switched off."""
    holds.hold(ledger, "*", datetime.now(UTC) + timedelta(hours=1), "x", "ada")
    run = new_run(ledger, "recovery-hold")

    gate.claim(ledger, run.id, intent(resource="recovery.hold.*"))


def test_what_was_done_is_not_done_again(ledger):
    """The same key, done, is NothingToDo, whoever asks."""
    run, claim = claimed(ledger)
    act(ledger, run, claim)
    finish(ledger, run)

    no = refusal(ledger, new_run(ledger), intent(min_interval_seconds=0))
    assert no.outcome == "NothingToDo"
    assert f"Run {run.id} did exactly this at" in str(no)


def test_the_flap_breaker_refuses_a_second_change_soon_after(ledger):
    """A second failover within the interval is refused, with the way to override it; the policy's override works."""
    run, claim = claimed(ledger)
    act(ledger, run, claim)
    finish(ledger, run)

    again = new_run(ledger)
    no = refusal(ledger, again, intent("k2", min_interval_seconds=600))
    assert no.outcome == "Refused"
    assert "Flap breaker" in str(no)
    assert "lower min_interval_seconds" in str(no)
    assert gate.claim(ledger, again.id, intent("k2", min_interval_seconds=0)).token > claim.token


def test_a_failed_change_also_counts_for_the_flap_breaker(ledger):
    """A recovery that left a mess is no reason to try another at once."""
    run, claim = claimed(ledger)
    act(ledger, run, claim)
    finish(ledger, run, "failed", "NeedsHuman")

    assert "Flap breaker" in str(refusal(ledger, new_run(ledger), intent("k2")))


def test_a_change_whose_run_died_also_counts_for_the_flap_breaker(ledger):
    """The successor found nothing left to do, but the change was made."""
    dead, claim = claimed(ledger)
    act(ledger, dead, claim)
    silence(ledger, dead.id)
    orphans.sweep(ledger)
    runs.close(ledger, new_run(ledger, resumes=dead.id).id, Ending(outcome="NothingToDo", why="n2 accepts writes"))

    assert "Flap breaker" in str(refusal(ledger, new_run(ledger), intent("k2")))


@pytest.mark.parametrize("procedure", ["fake-failover", "fake-switchover"])
def test_what_changed_nothing_does_not_trip_the_flap_breaker(ledger, procedure):
    """A run that stood down, or took everything back, does not keep the next one out."""
    run, claim = claimed(ledger, procedure=procedure)
    act(ledger, run, claim)
    finish(ledger, run, "abandoned", "Refused")

    gate.claim(ledger, new_run(ledger).id, intent("k2"))


def test_another_procedure_may_follow_at_once(ledger):
    """A rejoin comes right after a failover."""
    run, claim = claimed(ledger)
    act(ledger, run, claim)
    finish(ledger, run)

    gate.claim(ledger, new_run(ledger, "fake-rejoin").id, intent("k2"))


def test_a_resolved_alert_starts_nothing(ledger):
    """The alert went away before anything was changed: nothing to do."""
    alert = InboundAlert(source="am", fingerprint="f1", starts_at=datetime.now(UTC), status="firing")
    alerts.store(ledger, alert)
    alerts.store(ledger, alert.model_copy(update={"status": "resolved"}))

    no = refusal(ledger, new_run(ledger, alert="f1"), intent())
    assert no.outcome == "NothingToDo"
    gate.claim(ledger, new_run(ledger, alert="f2").id, intent())


def test_a_half_done_operation_is_finished_although_its_alert_is_resolved(ledger):
    """A primary that was fenced must be replaced, whatever the alert says by now."""
    alert = InboundAlert(source="am", fingerprint="f1", starts_at=datetime.now(UTC), status="firing")
    run, claim = claimed(ledger, alert="f1")
    act(ledger, run, claim)
    silence(ledger, run.id)
    orphans.sweep(ledger)
    alerts.store(ledger, alert.model_copy(update={"status": "resolved"}))

    assert gate.claim(ledger, new_run(ledger, alert="f1").id, intent()).adopted


def test_a_dead_runs_operation_is_adopted_within_the_flap_interval(ledger):
    """Going on with the same operation is not flapping; it counts as a further attempt, with a higher token."""
    run, claim = claimed(ledger)
    act(ledger, run, claim)
    silence(ledger, run.id)
    orphans.sweep(ledger)

    second = gate.claim(ledger, new_run(ledger).id, intent(min_interval_seconds=600))
    assert (second.adopted, second.attempts) == (True, 2)
    assert second.token > claim.token


def test_after_the_last_attempt_a_person_is_asked_for(ledger):
    """An operation that never finishes is not tried for ever; raising the limit goes on."""
    for _ in range(2):
        run, _ = claimed(ledger)
        silence(ledger, run.id)
        orphans.sweep(ledger)

    third = new_run(ledger)
    no = refusal(ledger, third, intent(max_attempts=2))
    assert no.outcome == "Refused"
    assert "tried 2 times and never finished" in str(no)
    assert gate.claim(ledger, third.id, intent(max_attempts=3)).attempts == 3


def test_an_abandoned_operation_begins_anew(ledger):
    """Attempts that changed nothing are not held against the next one."""
    for _ in range(5):
        run, claim = claimed(ledger)
        assert claim.attempts == 1
        finish(ledger, run, "abandoned", "Refused")


def test_an_expired_lease_is_taken_over_and_its_holder_is_declared_dead(ledger):
    """A new run need not wait for the sweep; the old one is not started again beside it."""
    old, old_claim = claimed(ledger)
    silence(ledger, old.id)
    new, claim = claimed(ledger)

    assert claim.token > old_claim.token
    dead = runs.find(ledger, old.id)
    assert dead.swept_at is not None
    assert f"run {new.id} took over" in dead.why
    assert orphans.sweep(ledger) == []


def test_the_old_holder_cannot_begin_an_act(ledger):
    """Its token is too low: LeaseLost, and it says who holds the lease; nothing is entered."""
    old, old_claim = claimed(ledger)
    silence(ledger, old.id)
    new, _ = claimed(ledger)

    with pytest.raises(LeaseLost, match=f"now held by run {new.id}"):
        steps.begin_step(ledger, old.id, old_claim.token, step(old.id))
    assert steps.timeline(ledger, old.id) == []


def test_a_swept_run_cannot_begin_an_act_though_nobody_took_over(ledger):
    """Declared dead is dead, even before its successor has begun."""
    run, claim = claimed(ledger)
    silence(ledger, run.id)
    orphans.sweep(ledger)

    with pytest.raises(LeaseLost, match="nobody, after the sweep"):
        steps.begin_step(ledger, run.id, claim.token, step(run.id))


def test_a_run_without_a_lease_cannot_begin_an_act(ledger):
    """An act before the gate is a mistake in the procedure, and does nothing."""
    run = new_run(ledger)

    with pytest.raises(LeaseLost, match="approve"):
        steps.begin_step(ledger, run.id, 0, step(run.id))


def test_a_guessed_token_does_not_open_the_gate(ledger):
    """The token alone or the run alone is not enough."""
    run, claim = claimed(ledger)
    other = new_run(ledger)

    for run_id, token in [(other.id, claim.token), (run.id, claim.token + 1), (run.id, claim.token - 1)]:
        with pytest.raises(LeaseLost):
            steps.begin_step(ledger, run_id, token, step(run_id))


def test_a_dead_run_cannot_claim(ledger):
    """A run that was swept while it observed must not change anything any more."""
    run = new_run(ledger)
    silence(ledger, run.id)
    orphans.sweep(ledger)

    with pytest.raises(LeaseLost):
        gate.claim(ledger, run.id, intent())


def test_an_approval_is_good_for_the_same_plan_of_the_same_operation(ledger):
    """The successor of a dead run is not asked again, unless the plan became another one."""
    run, _ = claimed(ledger)
    runs.granted(ledger, run.id, "digest-k1", "ada", "go")
    silence(ledger, run.id)
    orphans.sweep(ledger)
    second, claim = claimed(ledger)
    assert claim.approved
    silence(ledger, second.id)
    orphans.sweep(ledger)

    assert not gate.claim(ledger, new_run(ledger).id, intent(digest="another")).approved


def test_an_approval_is_used_up_when_the_operation_ends(ledger):
    """Trying again after a failure asks again."""
    run, _ = claimed(ledger)
    runs.granted(ledger, run.id, "digest-k1", "ada", "go")
    finish(ledger, run, "failed", "NeedsHuman")

    assert not claimed(ledger)[1].approved


def test_past_its_time_no_act_is_begun_but_undos_are(ledger):
    """timeout_seconds stops further changes, never the way back."""
    run, claim = claimed(ledger, timeout_seconds=0)

    with pytest.raises(StandDown, match="used up its 0 s"):
        steps.begin_step(ledger, run.id, claim.token, step(run.id))
    steps.begin_step(ledger, run.id, claim.token, step(run.id, "undo-fence", undo=True))


def test_waiting_for_a_person_does_not_use_up_the_time(ledger):
    """The clock stands while an approval is waited for, and starts when it is given."""
    run = new_run(ledger, timeout_seconds=0)
    gate.claim(ledger, run.id, intent(approval=True))
    assert runs.find(ledger, run.id).deadline_at is None

    runs.granted(ledger, run.id, "d", "ada", "")
    assert runs.find(ledger, run.id).deadline_at is not None


def test_the_same_plan_for_a_new_key_closes_what_a_dead_run_left(ledger):
    """The world has moved on, so a new operation replaces the open one; it is not refused for ever."""
    run, claim = claimed(ledger, "k1")
    act(ledger, run, claim)
    silence(ledger, run.id)
    orphans.sweep(ledger)
    claimed(ledger, "k2")

    with ledger.read() as connection:
        query = operations.select().where(operations.c.key == "k1")
        assert connection.execute(query).one().status == "failed"


def test_a_run_that_changed_nothing_does_not_hide_what_a_dead_one_changed(ledger):
    """The operation of a fenced primary stays unfinished when the next run is refused by a person."""
    first, claim = claimed(ledger)
    act(ledger, first, claim)
    silence(ledger, first.id)
    orphans.sweep(ledger)
    second, _ = claimed(ledger)
    finish(ledger, second, "abandoned", "Refused")

    with ledger.read() as connection:
        row = connection.execute(operations.select()).one()
    assert (row.status, row.changed_at is None) == ("failed", False)


def test_a_repeatable_operation_may_be_done_again_after_the_interval(ledger):
    """A plan that is not `once` is held back only by the flap breaker."""
    run, claim = claimed(ledger)
    act(ledger, run, claim)
    finish(ledger, run)

    again = new_run(ledger)
    assert "Flap breaker" in str(refusal(ledger, again, intent(once=False)))
    with ledger.begin() as connection:
        connection.execute(update(operations).values(closed_at=datetime.now(UTC) - timedelta(hours=1)))
    claim = gate.claim(ledger, again.id, intent(once=False))
    assert (claim.attempts, claim.adopted) == (1, False)
