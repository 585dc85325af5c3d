from __future__ import annotations

import pytest

from tasks.postgres.decide_rejoin import decide_rejoin
from tasks.postgres.judge import judge_rejoin
from tasks.postgres.policies import RejoinPolicy
from tasks.postgres.state import Host, Managed
from tests.tasks.postgres.worlds import DOWN, UNREACHABLE, cluster, gone, healthy, primary, receiver, standby

POLICY = RejoinPolicy()
NEW = primary("n2", timeline=2, feeds=("n3",), synchronous_standby_names="ANY 1 (n3)")
FED = standby("n3", timeline=2, upstream=receiver("n2"))


def world(*nodes, **given):
    return cluster(*nodes, NEW, FED, **given)


@pytest.mark.parametrize(
    ("node", "way"),
    [
        (gone("n1"), "rewind"),
        (primary("n1", timeline=1), "rewind"),
        (standby("n1", timeline=1), "rewind"),
        (standby("n1", timeline=2), "point"),
        (gone("n1", host=Host(reachable=True, standby_signal=True, timeline=2, directory="present")), "start"),
        (gone("n1", host=Host(reachable=True, directory="missing")), "clone"),
    ],
)
def test_the_cheapest_way_that_is_right_is_taken(node, way):
    """What may have diverged is rewound; only a directory that is gone is copied at once."""
    plan = decide_rejoin(world(node), POLICY).plan
    assert (plan.node, plan.primary, plan.way) == ("n1", "n2", way)
    assert plan.sync_names == "ANY 1 (n1, n3)"


def test_everybody_follows_means_nothing_to_do():
    """A second run changes nothing."""
    assert decide_rejoin(healthy(), POLICY).verdict == "nothing"
    assert decide_rejoin(world(gone("n1")), RejoinPolicy(node="n3")).verdict == "nothing"


def test_a_node_that_commits_do_not_wait_for_is_not_back_yet():
    """A run that died between streaming and the synchronous rule is finished by pointing the node again."""
    lead = primary("n2", timeline=2, feeds=("n1", "n3"), synchronous_standby_names="ANY 1 (n3)")
    seen = cluster(standby("n1", timeline=2, upstream=receiver("n2")), lead, FED)
    assert decide_rejoin(seen, POLICY).plan.way == "point"
    assert decide_rejoin(seen.model_copy(update={"sync_standbys": 0}), POLICY).verdict == "nothing"


def test_the_others_that_do_not_follow_are_named():
    """One node a run; the plan says who is next."""
    plan = decide_rejoin(cluster(gone("n1"), primary("n2", timeline=2), standby("n3", timeline=1)), POLICY).plan
    assert "run again for n3" in plan.why


PATRONI = Managed(leader="n1", members=("n1",), streaming=(), paused=False, ttl_seconds=30)


@pytest.mark.parametrize(
    ("seen", "policy", "says"),
    [
        (cluster(primary()), POLICY, "one node"),
        (world(gone("n1"), managed=PATRONI), POLICY, "Patroni brings"),
        (world(gone("n1")), RejoinPolicy(node="n9"), "has no node n9"),
        (cluster(gone("n1"), standby("n2"), standby("n3")), POLICY, "run postgres-failover first"),
        (world(primary("n1", timeline=2)), POLICY, "same timeline 2"),
        (world(gone("n1")), RejoinPolicy(node="n2"), "is the primary"),
        (world(gone("n1", host=UNREACHABLE)), POLICY, "cannot be controlled (no answer)"),
        (world(gone("n1", host=None)), POLICY, "no control is configured"),
        (world(gone("n1", answer="starting")), POLICY, "is starting up"),
        (world(gone("n1", host=Host(reachable=True, directory="missing"))), RejoinPolicy(allow_clone=False), "is off"),
    ],
)
def test_what_cannot_be_brought_back_is_refused(seen, policy, says):
    """Each refusal says what to mend first."""
    decision = decide_rejoin(seen, policy)
    assert decision.verdict == "refuse"
    assert says in decision.why


def test_a_rejoin_is_proven_by_both_ends():
    """The node streams, the primary did not change, and WAL is kept for the node."""
    plan = decide_rejoin(world(gone("n1", host=DOWN)), POLICY).plan
    lead = primary("n2", timeline=2, feeds=("n1", "n3"), synchronous_standby_names="ANY 1 (n1, n3)")
    after = cluster(standby("n1", timeline=2, upstream=receiver("n2")), lead, FED)
    assert all(e.holds for e in judge_rejoin(plan, after))
    assert not any(e.holds for e in judge_rejoin(plan, cluster(gone("n1"), gone("n2"), FED)))
