"""Every way in which a procedure can end, and what it leaves behind."""

from __future__ import annotations

import inspect
import threading
import time

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from blocks.errors import Ambiguous, Misconfigured, SalvorError, StandDown, Transient
from blocks.ledger import gate, orphans, outbox, runs
from blocks.ledger.block import Ledger
from blocks.ledger.schema import operations
from blocks.ledger.schema import runs as run_table
from tasks import guard
from tasks.event import Payload
from tasks.guard import current
from tasks.model import Decision
from tests.flows.fakes import (
    Died,
    FakePolicy,
    failing,
    fake_careless,
    fake_failover,
    fake_hasty,
    fake_outer,
    plan,
    promote,
)
from tests.ledgers import intent, lease, new_run, postgres_ledger, silence, sql

FORWARD = ["pause", "fence", "promote", "route"]


def ended(saved, flow=fake_failover, **parameters):
    """Run the flow; give its state and its row, after checking that the two agree."""
    state = flow("orders", return_state=True, **parameters)
    row = runs.history(saved)[0]
    assert (row.outcome, row.why) == (state.name, state.message)
    assert row.ended_at is not None
    return state, row


def operation(saved):
    with saved.read() as connection:
        return connection.execute(operations.select()).one_or_none()


def notices(saved):
    return [p.payload for p in outbox.undelivered(saved) if p.kind == "notification"]


def events(saved):
    return [p.payload for p in outbox.undelivered(saved) if p.kind == "event"]


def artifacts(row):
    with get_client(sync_client=True) as client:
        found = [a for a in client.read_artifacts() if str(a.flow_run_id) == row.flow_run_id]
    return {a.type: a for a in found}


def test_a_recovery_that_holds_is_recovered(saved, patient):
    """All acts in order, evidence that holds: Recovered, COMPLETED, lease free, somebody is informed."""
    state, _ = ended(saved, reason="pager", requested_by="ada")

    assert (state.type, state.name) == ("COMPLETED", "Recovered")
    assert patient.done == FORWARD
    assert operation(saved).status == "done"
    assert (lease(saved).run_id, lease(saved).expires_at) == (None, None)
    assert [(n["urgency"], n["title"], n["resolves"]) for n in notices(saved)] == [
        ("inform", "Recovered: fake-failover on orders", True)
    ]


def test_the_report_is_kept_and_shown(saved, patient):
    """The ledger holds the report as data and as text; Prefect shows the same text, and the progress ends at 100."""
    _, row = ended(saved)

    assert [step["name"] for step in row.report["timeline"]] == FORWARD
    assert row.report["timeline"][0]["sentence"] == "Hold the clients of n1"
    assert row.report["timeline"][0]["found"] == "pause done"
    assert row.report["plan"]["new"] == "n2"
    assert row.markdown.startswith("# Recovered: fake-failover on orders\n")
    shown = artifacts(row)
    assert (shown["markdown"].key, shown["markdown"].data) == ("fake-failover-orders", row.markdown)
    assert shown["progress"].data == 100.0
    assert row.reported_at is not None


def test_evidence_that_does_not_hold_is_unverified_and_pages(saved, patient):
    """We acted, and cannot show that it worked."""
    patient.holds = False
    state, _ = ended(saved)

    assert (state.type, state.name) == ("FAILED", "Unverified")
    assert "n2 accepts writes (seen: it does)" in state.message
    assert operation(saved).status == "failed"
    assert [n["urgency"] for n in notices(saved)] == ["page"]


def test_what_was_recovered_is_looked_at_next(saved, patient):
    """Each database gets one event in the outbox, with every key, together with the end of the run and not before."""
    patient.look_at = ("shop", "billing", "shop")
    patient.wrong["after"] = lambda: patient.done.append(str(events(saved)))
    state, row = ended(saved)

    assert (state.name, patient.done[-1]) == ("Recovered", "[]")
    assert [event["event"] for event in events(saved)] == ["salvor.recovery.concluded"] * 2
    assert [event["resource"]["prefect.resource.id"] for event in events(saved)] == [
        "recovery.consistency.shop",
        "recovery.consistency.billing",
    ]
    assert {event["resource"]["salvor.procedure"] for event in events(saved)} == {"consistency-check"}
    payload = events(saved)[0]["payload"]
    assert set(payload) == set(Payload.model_fields)
    assert payload["reason"] == "fake-failover on orders has ended"
    assert "consistency-check looks at the rows of shop now" in row.markdown


@pytest.mark.parametrize(("dry_run", "holds"), [(True, True), (False, False)])
def test_what_was_not_recovered_is_not_looked_at(saved, patient, dry_run, holds):
    """A dry run changed nothing, and where not everything holds a person looks first."""
    patient.look_at, patient.holds = ("shop",), holds
    _, row = ended(saved, policy=FakePolicy(dry_run=dry_run))

    assert events(saved) == []
    assert "consistency-check" not in row.markdown


def test_nothing_to_do_is_silent(saved, patient):
    """The world was right already: COMPLETED, no act, no lease, no notification."""
    patient.decision = lambda: Decision.nothing("n1 accepts writes")
    state, _ = ended(saved)

    assert (state.type, state.name, state.message) == ("COMPLETED", "NothingToDo", "n1 accepts writes")
    assert (patient.done, notices(saved), operation(saved)) == ([], [], None)


def test_a_refusal_changes_nothing_and_pages(saved, patient):
    """A guard said no."""
    patient.decision = lambda: Decision.refuse("no standby is up")
    state, _ = ended(saved)

    assert (state.type, state.name, state.message) == ("FAILED", "Refused", "no standby is up")
    assert (patient.done, operation(saved)) == ([], None)
    assert [n["urgency"] for n in notices(saved)] == ["page"]


@pytest.mark.parametrize(
    "error", [Misconfigured("the password is wrong"), ZeroDivisionError("a bug"), StandDown("two primaries")]
)
def test_any_error_before_the_gate_is_refused(saved, patient, error):
    """We could not see, so nothing was changed."""
    patient.wrong["observe"] = failing(error)
    state, _ = ended(saved)

    assert (state.name, state.message, patient.done) == ("Refused", str(error), [])


def test_standing_down_before_the_point_of_no_return_takes_everything_back(saved, patient):
    """Undos run newest first; the outcome is the one it stood down with; the operation does not count as a change."""
    patient.wrong["between"] = failing(StandDown("the standby went away"))
    state, _ = ended(saved)

    assert (state.name, state.message) == ("Refused", "the standby went away Taken back: pause, fence.")
    assert patient.done == ["pause", "fence", "unfence", "unpause"]
    assert (operation(saved).status, operation(saved).changed_at) == ("abandoned", None)


def test_the_undos_are_in_the_timeline(saved, patient):
    """The next shift sees what was taken back, in the words of the undo."""
    patient.wrong["between"] = failing(StandDown("no"))
    _, row = ended(saved)

    assert [step["sentence"] for step in row.report["timeline"]][2:] == [
        "Start the old primary again.",
        "Let the clients go on.",
    ]


def test_an_act_that_stands_down_is_taken_back_itself(saved, patient):
    """It may have begun, so its own undo runs too: a pause that timed out is unpaused."""
    patient.wrong["pause"] = failing(StandDown("the pooler did not drain in time"))
    state, _ = ended(saved)

    assert (state.name, patient.done) == ("Refused", ["pause", "unpause"])


def test_an_unexpected_error_between_the_acts_is_taken_back_and_needs_a_human(saved, patient):
    """Past the gate nobody is told that nothing happened, even when all was taken back."""
    patient.wrong["between"] = failing(RuntimeError("a bug"))
    state, _ = ended(saved)

    assert (state.type, state.name) == ("FAILED", "NeedsHuman")
    assert patient.done == ["pause", "fence", "unfence", "unpause"]
    assert "Taken back: pause, fence." in state.message


@pytest.mark.parametrize("error", [RuntimeError("the connection broke"), Ambiguous("no answer from n1")])
def test_a_half_failed_act_is_not_taken_back_itself(saved, patient, error):
    """Nobody knows whether it happened: it is neither repeated nor undone, what came before it is."""
    patient.wrong["fence"] = failing(error)
    state, row = ended(saved)

    assert state.name == "NeedsHuman"
    assert patient.done == ["pause", "fence", "unpause"]
    assert "Begun and not taken back: fence." in state.message
    assert str(error) in row.report["timeline"][1]["error"]


def test_nothing_is_taken_back_after_the_point_of_no_return(saved, patient):
    """Once a promotion was begun, the old primary must stay where it is."""
    patient.wrong["promote"] = failing(Transient("n2 did not answer"))
    state, _ = ended(saved)

    assert (state.name, patient.done) == ("NeedsHuman", ["pause", "fence", "promote"])


def test_standing_down_after_the_point_of_no_return_needs_a_human(saved, patient):
    """`Refused` promises that nothing was changed, and that would be a lie."""
    patient.wrong["route"] = failing(StandDown("the pooler is down"))
    state, _ = ended(saved)

    assert state.name == "NeedsHuman"


def test_standing_down_after_an_act_that_has_no_undo_needs_a_human(saved, patient):
    """The same, where there was no point of no return."""
    patient.wrong["between"] = failing(StandDown("on second thoughts"))
    state, _ = ended(saved, fake_careless)

    assert (state.name, patient.done) == ("NeedsHuman", ["route"])


def test_an_undo_that_fails_needs_a_human_and_the_others_still_run(saved, patient):
    """What could not be taken back is named."""
    patient.wrong |= {"between": failing(StandDown("no")), "unfence": failing(OSError("no route to host"))}
    state, _ = ended(saved)

    assert (state.name, patient.done) == ("NeedsHuman", ["pause", "fence", "unfence", "unpause"])
    assert "Could not be taken back: Start the old primary again." in state.message
    assert "no route to host" in state.message


def test_an_act_before_the_gate_is_not_done(saved, patient):
    """A procedure that forgets to ask changes nothing."""
    state, _ = ended(saved, fake_hasty)

    assert (state.name, patient.done) == ("Refused", [])
    assert "approve() must come before" in state.message


def swept(saved):
    """Declare the run that is going on dead, and let another one take its lease."""
    run_id = current().run.id
    with saved.begin() as connection:
        connection.execute(run_table.update().values(deployment_id="one that can be started again"))
    silence(saved, run_id)
    orphans.sweep(saved)
    other = new_run(saved)
    gate.claim(saved, other.id, intent(min_interval_seconds=0))
    return other.id


def test_a_run_that_lost_its_lease_begins_no_further_act(saved, patient):
    """It stops before its next write, takes nothing back, names the new holder, and pages nobody."""
    others = []
    patient.wrong["between"] = lambda: others.append(swept(saved))
    state = fake_failover("orders", return_state=True)

    assert (state.name, patient.done) == ("NeedsHuman", ["pause", "fence"])
    assert f"now held by run {others[0]}" in state.message
    assert lease(saved).run_id == others[0]
    assert notices(saved) == []


def test_a_dry_run_changes_nothing(saved, patient):
    """The same path: acts are recorded, the target sees nothing, and the sentence says what would be done."""
    state, row = ended(saved, policy=FakePolicy(dry_run=True))

    assert (state.type, state.name, patient.done) == ("COMPLETED", "NothingToDo", [])
    assert state.message.startswith("dry run: would do this: Hold the clients of n1; Stop n1")
    assert [step["dry"] for step in row.report["timeline"]] == [True] * 4
    assert (operation(saved), row.resource, row.changed_at, notices(saved)) == (None, None, None, [])


def test_a_dry_run_says_what_the_gate_would_object_to(saved, patient):
    """A rehearsal during another recovery says so, and leaves that one alone."""
    other = new_run(saved)
    gate.claim(saved, other.id, intent())
    state = fake_failover("orders", FakePolicy(dry_run=True), return_state=True)

    assert f"But the gate would not let it through now: Run {other.id} is already on it." in state.message
    assert lease(saved).run_id == other.id


def test_a_dry_run_that_cannot_see_is_refused_and_wakes_nobody(saved, patient):
    """The weekly rehearsal informs; it does not page."""
    patient.decision = lambda: Decision.refuse("no standby is up")
    state, _ = ended(saved, policy=FakePolicy(dry_run=True))

    assert state.name == "Refused"
    assert [n["urgency"] for n in notices(saved)] == ["inform"]


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"rpo_bytes": "many"}, "policy.rpo_bytes: Input should be a valid integer"),
        ({"max_attempts": 99}, "policy.max_attempts: Input should be less than or equal to 10"),
        ({"rpo_byte": 1}, "policy.rpo_byte: Extra inputs are not permitted"),
        ("fast", "policy: Input should be a valid dictionary"),
    ],
)
def test_a_form_that_is_filled_in_wrong_is_refused(saved, patient, policy, said):
    """The tick that validates the form can be unticked; the sentence names the field."""
    state, _ = ended(saved, policy=policy)

    assert (state.name, patient.done) == ("Refused", [])
    assert said in state.message


def test_a_policy_from_the_form_is_read(saved, patient):
    """A run from the UI or an automation brings plain data; its limits are the run's limits."""
    _, row = ended(saved, policy={"dry_run": True, "max_attempts": 7, "timeout_seconds": 77})

    assert (row.dry_run, row.max_attempts, row.timeout_seconds) == (True, 7, 77)
    assert patient.done == []


def test_without_a_ledger_nothing_is_changed(prefect_server, patient):
    """The sentence says which command makes one."""
    if "ledger" in [document.split("/")[-1] for document in _saved_blocks()]:
        Ledger.delete("ledger")
    state = fake_failover("orders", return_state=True)

    assert (state.type, state.name, patient.done) == ("FAILED", "Refused", [])
    assert "There is no ledger" in state.message
    assert "make up" in state.message
    assert "python -m blocks.ledger upgrade" in state.message


def _saved_blocks():
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/block_documents/filter", json={})
    return [f"{d['block_type']['slug']}/{d['name']}" for d in answer.json()]


def test_a_ledger_without_tables_is_refused(prefect_server, tmp_path, patient):
    """It exists, and nobody upgraded it."""
    Ledger(url=f"sqlite:///{tmp_path}/empty.db").save("ledger", overwrite=True)
    state = fake_failover("orders", return_state=True)

    assert (state.name, patient.done) == ("Refused", [])
    assert "python -m blocks.ledger upgrade" in state.message


def test_the_form_is_that_of_the_body():
    """Prefect sees the parameters, the defaults and the types of the undecorated function."""
    parameters = fake_failover.parameters.properties
    assert list(parameters) == ["target", "policy", "reason", "requested_by", "alert"]
    assert inspect.signature(fake_failover.fn).parameters["policy"].annotation is FakePolicy
    assert fake_failover.fn.__module__ == "tests.flows.fakes"
    assert not inspect.iscoroutinefunction(fake_failover.fn)


def test_a_run_that_is_told_to_stop_is_given_up_at_once(saved, patient):
    """SIGTERM of a worker: no outcome is invented, and the sweep need not wait for the lease to run out."""
    patient.wrong["between"] = failing(Died())
    with pytest.raises(Died):
        fake_failover("orders")

    row = runs.history(saved)[0]
    assert (row.outcome, row.ended_at, patient.done) == (None, None, ["pause", "fence"])
    assert [run.id for run in orphans.expired(saved)] == [row.id]


def test_the_lease_is_renewed_while_the_run_lives_and_not_afterwards(prefect_server, book, patient):
    """A run longer than its lease keeps it; no thread goes on renewing when it has ended."""
    quick = book.model_copy(update={"lease_seconds": 0.3})
    Ledger(url=book.url, lease_seconds=0.3).save("ledger", overwrite=True)
    seen = []

    def linger():
        for _ in range(8):
            time.sleep(0.1)
            seen.append([run.id for run in orphans.expired(quick)])

    patient.wrong["between"] = linger
    state = fake_failover("orders", return_state=True)

    assert (state.name, seen) == ("Recovered", [[]] * 8)
    assert not [t for t in _threads() if t.startswith("heartbeat-")]


def _threads():
    return [thread.name for thread in threading.enumerate()]


def test_a_broken_notification_never_breaks_a_recovery(saved, patient):
    """The notification is only put into the outbox; whoever delivers it may fail as often as it likes."""
    state, _ = ended(saved)
    parcel = outbox.due(saved, kinds=("notification",))[0]
    outbox.failed(saved, parcel.id, "slack is down")

    assert state.name == "Recovered"
    assert outbox.undelivered(saved)[0].last_error == "slack is down"


@pytest.mark.long
def test_a_ledger_that_dies_in_the_middle_stops_the_run(prefect_server, ledger_server, patient):
    """No act is begun that the ledger does not know of."""
    with postgres_ledger(ledger_server) as it:
        it.save("ledger", overwrite=True)
        name = it.engine.url.database
        patient.wrong["between"] = lambda: (
            sql(ledger_server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
            sql(ledger_server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        )
        state = fake_failover("orders", return_state=True)
        sql(ledger_server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    assert state.name == "NeedsHuman"
    assert patient.done == ["pause", "fence"]
    assert "ledger" in state.message


def test_a_procedure_may_be_made_of_procedures(saved, patient):
    """Each has its own row; the outer one is itself again afterwards."""
    seen = []
    patient.wrong["outer"] = lambda: seen.append(current().run.procedure)
    state = fake_outer("orders", return_state=True)

    assert (state.name, seen) == ("Recovered", ["fake-outer", "fake-outer"])
    assert [run.procedure for run in runs.history(saved)] == ["fake-failover", "fake-outer"]


def test_an_act_outside_a_procedure_is_not_done(prefect_server, patient):
    """The sentence says what is missing."""
    with pytest.raises(SalvorError, match="@concludes"):
        promote(plan())
    assert patient.done == []


def test_a_ledger_block_that_cannot_be_loaded_is_transient(prefect_server):
    """Prefect is away: that is not a missing ledger."""
    away = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(away), pytest.raises(Transient, match="could not be loaded"):
        guard.ledger()
