"""The kill switch as a procedure: placed, seen by others, lifted, and refused without a reason."""

from __future__ import annotations

import pytest

from blocks.ledger import holds, runs
from flows.recovery_hold import recovery_hold
from tasks.holds.decide import HoldPolicy
from tests.flows.fakes import fake_failover


def hold(target, hours, reason="storage is being moved", **policy):
    form = HoldPolicy(hours=hours, **policy)
    return recovery_hold(target, form, reason=reason, requested_by="ada", return_state=True)


@pytest.mark.parametrize("target", ["*", "orders"])
def test_a_hold_refuses_recoveries_until_it_is_lifted(saved, patient, target):
    """Placed, one recovery refused with the reason, lifted, the next one goes through."""
    assert hold(target, 2).name == "Recovered"
    refused = fake_failover("orders", return_state=True)
    assert (refused.name, patient.done) == ("Refused", [])
    assert "by ada: storage is being moved" in refused.message

    assert hold(target, 0).name == "Recovered"
    assert fake_failover("orders", return_state=True).name == "Recovered"


def test_a_hold_can_be_changed_at_once(saved, patient):
    """Neither the flap breaker nor the hold itself stands in the way."""
    states = [hold("*", hours).name for hours in (1, 2, 3)]

    assert states == ["Recovered"] * 3
    assert len(holds.standing(saved)) == 1


def test_lifting_what_is_not_held_is_nothing_to_do(saved, patient):
    """And says so."""
    state = hold("orders", 0)
    assert (state.name, state.message) == ("NothingToDo", "Orders is not held.")


def test_a_hold_needs_a_reason(saved, patient):
    """Whoever is refused reads it."""
    state = hold("orders", 1, reason="")
    assert (state.name, holds.standing(saved)) == ("Refused", [])


def test_a_dry_run_holds_nothing(saved, patient):
    """It says what it would do."""
    state = hold("orders", 1, dry_run=True)

    assert (state.name, holds.standing(saved)) == ("NothingToDo", [])
    assert "dry run: would do this: Begin nothing on orders" in state.message
    assert runs.history(saved)[0].procedure == "recovery-hold"
