"""A person is asked: approves, rejects, is the wrong one, answers nonsense, comes too late, or not at all."""

from __future__ import annotations

import time
from contextlib import suppress
from threading import Thread

import pytest
from prefect.client.orchestration import get_client

from blocks.ledger import orphans, outbox, runs
from blocks.ledger.schema import operations
from tasks.model import Decision
from tests.flows import fakes
from tests.flows.fakes import FakePolicy, fake_failover, plan
from tests.ledgers import silence

PERSON = FakePolicy(approval="person", approval_seconds=20)
FORWARD = ["pause", "fence", "promote", "route"]


class Asked:
    """A run that waits for a person, in a thread of its own."""

    def __init__(self, ledger, **parameters):
        self.ledger, self.state = ledger, None
        self.known = {run.id for run in runs.history(ledger)}
        self.thread = Thread(target=self._run, kwargs={"policy": PERSON, "requested_by": "Ada"} | parameters)
        self.thread.start()

    def _run(self, **parameters):
        with suppress(fakes.Died):
            self.state = fake_failover("orders", return_state=True, **parameters)

    @property
    def row(self):
        return next(run for run in runs.history(self.ledger) if run.id not in self.known)

    def waits(self, times=1):
        """Wait until it asks for the TIMES-th time; give what it shows."""
        give_up = time.monotonic() + 30
        with get_client(sync_client=True) as client:
            while time.monotonic() < give_up:
                if [run for run in runs.history(self.ledger) if run.id not in self.known]:
                    run = client.read_flow_run(self.row.flow_run_id)
                    key = f"paused-approval-{times - 1}-"
                    if run.state and run.state.is_paused() and self._has(client, f"{key}description"):
                        return client.read_flow_run_input(run.id, f"{key}description")
                time.sleep(0.05)
        raise AssertionError("it never asked")

    def _has(self, client, key):
        found = client.filter_flow_run_input(self.row.flow_run_id, key, limit=1, exclude_keys=set())
        return bool(found)

    def answer(self, **given):
        """Fill in the form and press Resume; give what the server says to it."""
        with get_client(sync_client=True) as client:
            body = {"run_input": given} if given else {}
            path = f"/flow_runs/{self.row.flow_run_id}/resume"
            return client.request("POST", path, json=body).json()["status"]

    def ends(self):
        self.thread.join(timeout=40)
        assert not self.thread.is_alive()
        return self.state


def notices(ledger):
    return [p.payload["title"] for p in outbox.undelivered(ledger) if p.kind == "notification"]


def test_an_approved_plan_is_executed(saved, patient):
    """The plan and its loss are shown, somebody else approves, and who it was is kept."""
    run = Asked(saved)
    shown = run.waits()
    assert patient.done == []
    assert "n1 is gone and n2 has everything" in shown
    assert "What will be lost" in shown
    assert run.answer(decision="approve", approver="Bob", comment="go on") == "ACCEPT"

    assert (run.ends().name, patient.done) == ("Recovered", FORWARD)
    with saved.read() as connection:
        row = connection.execute(operations.select()).one()
    assert (row.approved_by, row.approved_comment, row.approved_digest) == ("Bob", "go on", plan().digest)
    assert notices(saved)[0] == "fake-failover on orders waits for an approval"


def test_a_plan_may_ask_for_a_person_whatever_the_policy_says(saved, patient):
    """No fence can be proven: the plan itself asks, and says why."""
    patient.decision = lambda: Decision.go(plan(ask="No fence can be proven."))
    run = Asked(saved, policy=FakePolicy(approval="auto", approval_seconds=20))

    assert "No fence can be proven." in run.waits()
    run.answer(decision="reject", approver="Bob")
    run.ends()


def test_a_rejected_plan_is_refused(saved, patient):
    """Nothing is changed, and the sentence says who rejected it, and why."""
    run = Asked(saved)
    run.waits()
    run.answer(decision="reject", approver="Bob", comment="wait for the network team")

    assert (run.ends().name, patient.done) == ("Refused", [])
    assert run.state.message == "Bob rejected the plan: wait for the network team."


@pytest.mark.parametrize("name", ["Ada", "  aDA "])
def test_the_requester_cannot_approve(saved, patient, name):
    """Four eyes: whoever asked is told that somebody else must approve, and the run goes on waiting."""
    run = Asked(saved)
    run.waits()
    run.answer(decision="approve", approver=name)
    assert "asked for this run" in run.waits(times=2)
    run.answer(decision="approve", approver="Bob")

    assert (run.ends().name, patient.done) == ("Recovered", FORWARD)


def test_the_requester_may_take_it_back(saved, patient):
    """Rejecting one's own request needs no second person."""
    run = Asked(saved)
    run.waits()
    run.answer(decision="reject", approver="Ada")

    assert run.ends().name == "Refused"


@pytest.mark.parametrize("given", [{"decision": "approve"}, {"decision": "maybe", "approver": "Bob"}, {"x": 1}])
def test_an_invalid_answer_is_not_an_answer(saved, patient, given):
    """The server rejects it, and the run goes on waiting."""
    run = Asked(saved)
    run.waits()
    assert run.answer(**given) == "REJECT"
    run.answer(decision="approve", approver="Bob")

    assert run.ends().name == "Recovered"


def test_resuming_without_the_form_asks_again(saved, patient):
    """The bare Resume of the API is no approval."""
    run = Asked(saved)
    run.waits()
    if run.answer() == "ACCEPT":
        assert "That was not an answer" in run.waits(times=2)
    run.answer(decision="approve", approver="Bob")

    assert run.ends().name == "Recovered"


def test_nobody_answers(saved, patient):
    """In time nothing is done, and on-call is paged a second time."""
    run = Asked(saved, policy=FakePolicy(approval="person", approval_seconds=5))

    assert (run.ends().name, patient.done) == ("Refused", [])
    assert "Nobody approved the plan" in run.state.message
    assert notices(saved) == ["fake-failover on orders waits for an approval", "Refused: fake-failover on orders"]


def test_a_world_that_changed_in_the_meantime_refuses_the_approval(saved, patient):
    """Another plan would be executed than the one that was approved."""
    run = Asked(saved)
    run.waits()
    patient.decision = lambda: Decision.go(plan(new="n3"))
    run.answer(decision="approve", approver="Bob")

    assert (run.ends().name, patient.done) == ("Refused", [])
    assert "The world changed" in run.state.message


def test_what_may_vary_in_a_plan_does_not_refuse_the_approval(saved, patient):
    """A few more bytes of lag are the same plan."""
    run = Asked(saved)
    run.waits()
    patient.decision = lambda: Decision.go(plan(lag_bytes=4096, why="n1 is still gone"))
    run.answer(decision="approve", approver="Bob")

    assert run.ends().name == "Recovered"


def test_without_a_requester_nobody_can_be_somebody_else(saved, patient):
    """The form must say who asks, unless an alert did."""
    state = fake_failover("orders", PERSON, return_state=True)

    assert (state.name, patient.done) == ("Refused", [])
    assert "say in requested_by who asks" in state.message


def test_a_waiting_run_is_alive(saved, patient):
    """It keeps its lease for as long as it waits: the sweep does not take it for dead."""
    saved.model_copy(update={"lease_seconds": 1.0}).save("ledger", overwrite=True)
    run = Asked(saved)
    run.waits()
    time.sleep(2.0)

    assert orphans.sweep(saved) == []
    run.answer(decision="approve", approver="Bob")
    assert run.ends().name == "Recovered"


def test_the_successor_of_a_run_that_died_after_its_approval_does_not_ask_again(saved, patient):
    """The same plan, approved: it goes on at once."""

    def die():
        raise fakes.Died

    patient.wrong["promote"] = die
    first = Asked(saved)
    first.waits()
    first.answer(decision="approve", approver="Bob")
    first.thread.join(timeout=40)
    with saved.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET deployment_id = 'd1'")
    silence(saved, first.row.id)
    orphans.sweep(saved)
    patient.wrong.clear()

    state = fake_failover("orders", PERSON, requested_by="Ada", return_state=True)
    assert state.name == "Recovered"
    assert patient.done == ["pause", "fence", "promote", *FORWARD]
