"""Standbys that are not what they seem: what tells them apart, and what becomes of them."""

from __future__ import annotations

import pytest

from tasks.postgres.candidates import eligible, sync_vouches
from tasks.postgres.decide import decide_failover
from tasks.postgres.decide_rejoin import decide_rejoin
from tasks.postgres.policies import FailoverPolicy, RejoinPolicy
from tests.tasks.postgres.worlds import cluster, gone, primary, receiver, recorded, standby

POLICY = FailoverPolicy()


def test_a_standby_that_did_not_receive_what_it_has_is_passed_over():
    """It is further than the primary was seen to be, and nobody gave it that: it is left behind by name."""
    seen = cluster(gone(), standby("n2", lsn=2000, received_lsn=900), standby("n3"))
    plan = decide_failover(seen, POLICY).plan
    assert (plan.candidate, plan.siblings) == ("n3", ())
    assert "Left behind, for postgres-rejoin: n2 is ahead of the primary" in plan.why
    assert not plan.zero_loss, "it may be the only one that holds a confirmed commit"


def test_after_a_power_cut_nobody_is_blamed():
    """Standbys that were all restarted have all received nothing yet; one of them is promoted."""
    restarted = [standby(name, lsn=1100, received_lsn=0) for name in ("n2", "n3")]
    assert [n.name for n in eligible(cluster(gone(), *restarted))] == ["n2", "n3"]


@pytest.mark.parametrize("last", [None, recorded(lsn=3000), recorded(timeline=2)])
def test_without_a_fitting_record_nobody_is_suspected(last):
    """Only the last recorded position of the same timeline can show that a standby is too far."""
    seen = cluster(gone(), standby("n2", lsn=2000, received_lsn=900), standby("n3"), recorded=last)
    assert [n.name for n in eligible(seen)] == ["n2", "n3"]


def test_what_cannot_be_applied_does_not_count_but_was_confirmed():
    """A standby that is stuck is as far as it could apply; what it confirmed beyond that is vouched for by nobody."""
    seen = cluster(gone(), standby("n2", lsn=500, received_lsn=1200), standby("n3", lsn=1100))
    best, *_ = eligible(seen)
    assert best.name == "n3"
    assert not sync_vouches(seen, best)


def test_two_histories_are_for_a_person():
    """When a standby was promoted while another is where the primary was last seen, people say which is right."""
    seen = cluster(gone(), standby("n2"), standby("n3", timeline=2))
    decision = decide_failover(seen, POLICY)
    assert decision.verdict == "refuse"
    assert "n3 was promoted since. If that was a mistake, stop n3; if it was meant, stop n2." in decision.why
    assert decide_failover(cluster(gone(), standby("n2"), gone("n3")), POLICY).plan.candidate == "n2"


@pytest.mark.parametrize(
    ("seen", "policy", "says"),
    [
        (cluster(gone(), gone("n2"), gone("n3", answer="silent")), POLICY, "No node answers (n1, n2, n3)"),
        (cluster(gone(), standby("n2"), standby("n3")), FailoverPolicy(candidate="n9"), "has no node n9"),
    ],
)
def test_nothing_is_guessed(seen, policy, says):
    """Where nobody answers, or a wish cannot be met, the sentence says so."""
    decision = decide_failover(seen, policy)
    assert (decision.verdict, says in decision.why) == ("refuse", True)


def test_a_dead_server_on_a_host_that_answers_is_no_sign_of_a_partition():
    """Of three nodes one is left, but the hosts of the others say that their servers are dead: we are not cut off."""
    assert decide_failover(cluster(gone(), gone("n2"), standby("n3")), POLICY).plan.candidate == "n3"


def test_a_standby_that_is_stuck_is_copied():
    """It is on the right timeline, so a rewind would find nothing, and pointing it would not help."""
    lead = primary("n1", feeds=("n2",), synchronous_standby_names="ANY 1 (n2, n3)")
    stuck = standby("n3", lsn=500, received_lsn=900, upstream=receiver())
    plan = decide_rejoin(cluster(lead, standby("n2", upstream=receiver()), stuck), RejoinPolicy()).plan
    assert (plan.node, plan.way) == ("n3", "clone")
    assert "kept beside the copy" in plan.loss
