"""The sweep: dead runs are started again once, whatever kills the sweep itself, and a person's word is respected."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

import pytest

from blocks.ledger import gate, orphans, outbox, runs, steps
from blocks.ledger.block import Ledger
from blocks.ledger.records import Ending
from blocks.ledger.schema import operations
from blocks.ledger.schema import outbox as parcels
from blocks.ledger.schema import runs as run_table
from flows.procedure import RESUMES
from flows.triggers.sweep.command import main
from flows.triggers.sweep.sweeper import Sweeper
from tests.flows.paper_prefect import PaperPrefect
from tests.ledgers import RESOURCE, claimed, intent, lease, new_run, silence, step


@pytest.fixture
def prefect(tmp_path):
    """Give a Prefect that remembers."""
    return PaperPrefect(tmp_path / "prefect")


def dead(ledger, prefect, *, acted=True, **facts):
    """Make a run that died in the middle."""
    run, claim = claimed(ledger, parameters={"target": "orders", "policy": {"rpo_bytes": 7}}, **facts)
    if acted:
        steps.begin_step(ledger, run.id, claim.token, step(run.id))
    silence(ledger, run.id)
    prefect.stands(run.flow_run_id, "RUNNING")
    return run


def turn(ledger, prefect):
    """Sweep once, to the end: a thread that still used SQLite while a test forks would leave the child its locks."""
    sweeper = Sweeper(ledger, prefect, tell=nobody)
    swept = sweeper.turn()
    sweeper.drain()
    return swept


def nobody(_ledger):
    """Nobody is told in these tests."""


def now_due(ledger):
    """Let what waits for its next attempt be due."""
    with ledger.begin() as connection:
        connection.execute(parcels.update().values(due_at=datetime.now(UTC) - timedelta(seconds=1)))


def end_long_ago(ledger):
    with ledger.begin() as connection:
        ended = run_table.c.ended_at.is_not(None)
        connection.execute(run_table.update().where(ended).values(ended_at=datetime.now(UTC) - timedelta(hours=1)))


def pages(ledger):
    return [p.payload["title"] for p in outbox.undelivered(ledger) if p.kind == "notification"]


def test_a_dead_run_is_started_again_with_the_same_parameters(ledger, prefect):
    """Its lease is free with a higher token, Prefect shows it as crashed, and one successor is started."""
    run = dead(ledger, prefect)
    token = lease(ledger).token

    assert turn(ledger, prefect).dead == (run.id,)
    assert (lease(ledger).run_id, lease(ledger).token) == (None, token + 1)
    assert prefect.standing(run.flow_run_id).kind == "CRASHED"
    assert prefect.seen("runs") == {
        f"{RESUMES}{run.id}": {"deployment_id": "d1", "parameters": {"target": "orders", "policy": {"rpo_bytes": 7}}}
    }
    assert turn(ledger, prefect).dead == ()


def test_a_run_that_lives_is_left_alone(ledger, prefect):
    """A heartbeat in time is enough, with or without a lease."""
    claimed(ledger)
    new_run(ledger, "fake-switchover")

    assert turn(ledger, prefect).dead == ()
    assert prefect.seen("runs") == {}


def test_a_run_that_died_while_it_observed_is_started_again(ledger, prefect):
    """It held nothing yet, but the failover is still needed."""
    run = new_run(ledger)
    silence(ledger, run.id)

    assert turn(ledger, prefect).dead == (run.id,)
    assert list(prefect.seen("runs")) == [f"{RESUMES}{run.id}"]


def test_the_successor_knows_which_attempt_it_is(ledger, prefect):
    """The idempotency key names the dead run, and the ledger counts on."""
    run = dead(ledger, prefect)
    turn(ledger, prefect)

    assert new_run(ledger, resumes=run.id).attempt == 2


def test_after_the_last_attempt_it_is_not_started_again(ledger, prefect):
    """NeedsHuman, paged once, shown in Prefect; its operation counts as failed."""
    run = dead(ledger, prefect, max_attempts=1)
    turn(ledger, prefect)

    row = runs.find(ledger, run.id)
    assert (row.outcome, prefect.seen("runs")) == ("NeedsHuman", {})
    assert "for the first time. It is not started again" in row.why
    with ledger.read() as connection:
        assert connection.execute(operations.select()).one().status == "failed"
    end_long_ago(ledger)
    turn(ledger, prefect)
    assert prefect.standing(run.flow_run_id).name == "NeedsHuman"
    assert prefect.seen("reports")[run.flow_run_id][0] == "fake-failover-orders"


def test_a_run_without_a_deployment_is_paged(ledger, prefect):
    """It was called from a shell: nobody can start it again but a person."""
    run = dead(ledger, prefect, deployment_id=None)
    orphans.sweep(ledger)

    assert runs.find(ledger, run.id).outcome == "NeedsHuman"
    assert pages(ledger) == ["fake-failover on orders: NeedsHuman"]


def test_a_run_whose_deployment_is_gone_is_paged(ledger, prefect):
    """The sentence says how to bring it back."""
    run = dead(ledger, prefect)
    prefect.deployments.clear()
    turn(ledger, prefect)

    assert "run `prefect deploy --all`" in runs.find(ledger, run.id).why
    assert runs.find(ledger, run.id).outcome == "NeedsHuman"


@pytest.mark.parametrize("kind", ["CANCELLED", "CANCELLING"])
@pytest.mark.parametrize(("acted", "outcome"), [(True, "NeedsHuman"), (False, "Refused")])
def test_a_run_that_a_person_cancelled_is_not_started_again(ledger, prefect, kind, acted, outcome):
    """The lease is freed, on-call is paged, and an unfinished cancellation is finished."""
    run = dead(ledger, prefect, acted=acted)
    prefect.stands(run.flow_run_id, kind)
    orphans.sweep(ledger)
    turn(ledger, prefect)

    row = runs.find(ledger, run.id)
    assert (row.outcome, prefect.seen("runs"), lease(ledger).run_id) == (outcome, {}, None)
    assert row.why.startswith("A person cancelled this run")
    assert prefect.standing(run.flow_run_id).kind == "CANCELLED"
    end_long_ago(ledger)
    turn(ledger, prefect)
    assert prefect.standing(run.flow_run_id).kind == "CANCELLED"


def test_a_run_that_told_prefect_its_end_but_not_the_ledger_is_not_started_again(ledger, prefect):
    """The ledger was down for a moment, exactly then."""
    run = dead(ledger, prefect)
    prefect.stands(run.flow_run_id, "COMPLETED", "Recovered", "n2 took over")
    turn(ledger, prefect)

    row = runs.find(ledger, run.id)
    assert (row.outcome, row.why, prefect.seen("runs")) == ("Recovered", "n2 took over", {})
    with ledger.read() as connection:
        assert connection.execute(operations.select()).one().status == "done"


def test_the_ledger_frees_the_lease_while_prefect_is_down(ledger, prefect):
    """A new run can go on at once; the old one is started again later, and sees that there is nothing to do."""
    run = dead(ledger, prefect)
    prefect.down = True
    assert turn(ledger, prefect).delivered == 0
    assert lease(ledger).run_id is None
    assert outbox.undelivered(ledger)[0].last_error == "Prefect did not answer."

    prefect.down = False
    now_due(ledger)
    assert turn(ledger, prefect).delivered == 1
    assert list(prefect.seen("runs")) == [f"{RESUMES}{run.id}"]


def test_a_server_that_does_not_answer_is_asked_once_a_turn(ledger, prefect):
    """Twenty questions of five seconds each would keep the next dead run waiting."""
    for number in range(3):
        outbox.put(ledger, "event", f"e{number}", {"id": f"e{number}"})
        run, _ = claimed(ledger, f"k{number}")
        runs.close(ledger, run.id, Ending(outcome="Recovered", why=""))
    end_long_ago(ledger)
    prefect.down, asked = True, []
    prefect.standing = lambda run_id: asked.append(run_id) or PaperPrefect.standing(prefect, run_id)

    assert (turn(ledger, prefect).delivered, len(asked)) == (0, 1)
    assert [bool(parcel.last_error) for parcel in outbox.undelivered(ledger)] == [True, False, False]


def test_what_cannot_be_done_does_not_stop_the_rest(ledger, prefect):
    """An event that makes no sense, and a run whose end cannot be shown, are passed over."""
    outbox.put(ledger, "event", "nonsense", {"no": "id"})
    outbox.put(ledger, "event", "e1", {"id": "e1"})
    assert turn(ledger, prefect).delivered == 1

    assert [parcel.key for parcel in outbox.undelivered(ledger)] == ["nonsense"]


def test_events_that_the_receiver_could_not_send_are_sent(ledger, prefect):
    """Stored before they were acknowledged, they reach Prefect late rather than never."""
    outbox.put(ledger, "event", "e1", {"id": "e1", "event": "alertmanager.alert.fired"})

    assert turn(ledger, prefect).delivered == 1
    assert list(prefect.seen("events")) == ["e1"]
    assert outbox.undelivered(ledger) == []


@pytest.mark.parametrize(("kind", "name"), [("RUNNING", ""), ("CRASHED", ""), ("FAILED", "Failed"), ("PAUSED", "")])
def test_prefect_is_told_an_end_that_only_the_ledger_knows(ledger, prefect, kind, name):
    """The process died between the two, or the server was away."""
    run, _ = claimed(ledger)
    prefect.stands(run.flow_run_id, kind, name)
    runs.close(ledger, run.id, Ending(outcome="Unverified", why="one standby is missing", markdown="# Unverified"))
    turn(ledger, prefect)
    assert prefect.standing(run.flow_run_id).kind == kind  # it ended just now, and may still tell Prefect itself

    end_long_ago(ledger)
    assert turn(ledger, prefect).settled == 1
    seen = prefect.standing(run.flow_run_id)
    assert (seen.kind, seen.name, seen.message) == ("FAILED", "Unverified", "one standby is missing")
    assert prefect.seen("reports")[run.flow_run_id] == [
        "fake-failover-orders", "# Unverified", "Unverified: one standby is missing"
    ]  # fmt: skip
    assert turn(ledger, prefect).settled == 0


def test_a_run_that_prefect_never_knew_is_settled(ledger, prefect):
    """Its row in Prefect was deleted: there is nobody to tell."""
    run, _ = claimed(ledger)
    runs.close(ledger, run.id, Ending(outcome="Recovered", why=""))
    end_long_ago(ledger)

    assert turn(ledger, prefect).settled == 1
    assert orphans.unsettled(ledger) == []


SWEEP = ("triggers/sweep/sweeper.py", "triggers/sweep/resumption.py", "ledger/orphans.py", "ledger/outbox.py")


class Line:
    """Kills the process at the N-th line of the sweep that is executed."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame, event, _arg):
        if not frame.f_code.co_filename.endswith(SWEEP):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                os._exit(9)
        return self


def killed_at(number, ledger, prefect):
    """Sweep in a child that is killed at that line; False when the sweep ended before it."""
    pid = os.fork()
    if pid == 0:
        try:
            mine = Ledger(url=ledger.url, lease_seconds=ledger.lease_seconds)
            sys.settrace(Line(number))
            Sweeper(mine, prefect, tell=nobody).turn()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


@pytest.mark.long
def test_the_sweep_may_be_killed_at_any_of_its_lines(ledger, prefect):
    """After a kill at each line in turn, the next sweep finishes the job: one successor, one end, nothing twice."""
    number, killed, tried = 0, True, 0
    stride = 1 if ledger.engine.dialect.name == "sqlite" else 5  # the lines are the same, and time is short
    while killed:
        number, tried = number + stride, tried + 1
        run = new_run(ledger, parameters={"n": number})
        resource = f"recovery.fake.{number}"
        token = gate.claim(ledger, run.id, intent(resource=resource)).token
        over = new_run(ledger)
        runs.close(ledger, over.id, Ending(outcome="Recovered", why="", markdown="# Recovered"))
        end_long_ago(ledger)
        silence(ledger, run.id)
        for each in (run, over):
            prefect.stands(each.flow_run_id, "RUNNING")

        killed = killed_at(number, ledger, prefect)
        now_due(ledger)
        turn(ledger, prefect)

        assert prefect.seen("runs")[f"{RESUMES}{run.id}"]["parameters"] == {"n": number}
        assert prefect.standing(run.flow_run_id).kind == "CRASHED"
        assert prefect.standing(over.flow_run_id).name == "Recovered"
        assert (lease(ledger, resource).run_id, lease(ledger, resource).token) == (None, token + 1)
        assert (outbox.undelivered(ledger), orphans.unsettled(ledger), orphans.expired(ledger)) == ([], [], [])
    assert number > 40
    assert len(prefect.seen("runs")) == tried


def test_the_command_says_what_is_missing(prefect_server, monkeypatch, capsys):
    """Without a ledger it names the command that makes one."""
    monkeypatch.setattr("flows.triggers.sweep.command.load_ledger", _missing)
    assert main(["--once"]) == 1
    assert "no ledger here" in capsys.readouterr().err


def _missing():
    from blocks.errors import Misconfigured  # noqa: PLC0415

    raise Misconfigured("no ledger here")


def test_the_command_sweeps_once(saved, capsys):
    """It prints what it did, as JSON."""
    run = new_run(saved, deployment_id=None)
    silence(saved, run.id)

    assert main(["--once"]) == 0
    assert f'"dead":["{run.id}"]' in capsys.readouterr().out


def test_the_resource_of_the_tests_is_the_one_that_is_looked_at():
    """The helper's default and the fixture's target agree."""
    assert intent().resource == RESOURCE
