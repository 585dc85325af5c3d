"""A person holds a target: nothing begins on it until the hold is lifted."""

from __future__ import annotations

import pytest

from tasks.model import Outcome
from tests.drills.ward import Ward

pytestmark = pytest.mark.drill


def test_a_held_target_is_left_alone_until_the_hold_is_lifted(ward: Ward) -> None:
    """While a target is held a switchover is refused with who held it and why; lifted, it goes on."""
    why = "the host of n1 gets a new disk"
    held = ward.run("recovery-hold", reason=why, policy={"hours": 1})
    refused = ward.run("postgres-switchover")
    lifted = ward.run("recovery-hold", reason="done", policy={"hours": 0})
    moved = ward.run("postgres-switchover")
    assert (held.outcome, lifted.outcome) == (Outcome.RECOVERED, Outcome.RECOVERED), (held.why, lifted.why)
    assert refused.outcome == Outcome.REFUSED
    assert why in refused.why
    assert moved.outcome == Outcome.RECOVERED, moved.why
    assert ward.lab.primaries() == ["n2"]
