"""What a dead run had begun is closed by the run that goes on for it, even when that one takes nothing up."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from blocks.ledger import gate, operations, orphans, runs, steps
from blocks.ledger.block import Ledger
from blocks.ledger.records import Ending, Run
from blocks.ledger.schema import operations as table
from tests.ledgers import RESOURCE, claimed, intent, new_run, silence, step


def killed_in_its_first_act(ledger: Ledger) -> Run:
    """Leave an operation open, as a run does whose process dies."""
    run, claim = claimed(ledger)
    steps.begin_step(ledger, run.id, claim.token, step(run.id))
    silence(ledger, run.id)
    orphans.sweep(ledger)
    return run


def status(ledger: Ledger) -> str:
    with ledger.read() as connection:
        return connection.execute(select(table.c.status)).scalar_one()


@pytest.mark.parametrize(("outcome", "left"), [("NothingToDo", "abandoned"), ("Refused", "failed")])
def test_a_resumed_run_that_never_comes_to_the_gate_closes_what_was_open(ledger, outcome, left):
    """Else every other procedure would be kept away for ever by an operation that nobody goes on with."""
    dead = killed_in_its_first_act(ledger)
    again = new_run(ledger, resumes=dead.id)
    runs.close(ledger, again.id, Ending(outcome=outcome, why="as seen"))

    assert status(ledger) == left
    other = new_run(ledger, procedure="fake-rejoin")
    assert gate.claim(ledger, other.id, intent("k2", min_interval_seconds=0)).token


def test_what_was_begun_is_found_through_a_run_that_died_before_the_gate(ledger):
    """The second of three runs may have died before it took anything up."""
    dead = killed_in_its_first_act(ledger)
    second = new_run(ledger, resumes=dead.id)
    silence(ledger, second.id)
    orphans.sweep(ledger)
    third = new_run(ledger, resumes=second.id)
    runs.close(ledger, third.id, Ending(outcome="NothingToDo", why="as seen"))

    assert status(ledger) == "abandoned"


def test_what_somebody_else_has_taken_up_is_left_to_them(ledger):
    """A person's run adopted the operation before the resumed one looked."""
    dead = killed_in_its_first_act(ledger)
    again = new_run(ledger, resumes=dead.id)
    claimed(ledger)
    runs.close(ledger, again.id, Ending(outcome="NothingToDo", why="somebody is on it"))

    assert status(ledger) == "open"


def test_a_refused_try_can_be_gone_on_with(ledger):
    """Whoever runs it after the refusal finds the plan that was cut off."""
    dead = killed_in_its_first_act(ledger)
    again = new_run(ledger, resumes=dead.id)
    runs.close(ledger, again.id, Ending(outcome="Refused", why="could not see"))

    assert operations.unfinished(ledger, RESOURCE, dead.procedure) == {"key": "k1"}
