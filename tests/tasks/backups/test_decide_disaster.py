"""What is dead, and the way back that is soonest and loses least."""

from __future__ import annotations

import pytest

from tasks.backups.decide_disaster import assess, decide_disaster
from tasks.backups.policies import DisasterPolicy
from tests.tasks.backups.worlds import a_set, at, down, gone, listing, primary, proof, recorded, standby, view, wal

KEPT = listing(a_set("s1", 2, days=3), a_set("s2", 5, days=1))
HOLE = listing(a_set("s1", 2, days=3), files=wal(1, 9, without=(7,)))
LOST = (gone("n1"), gone("n2"))


def decided(*places, policy=None, **seen):
    return decide_disaster(view(*places, **{"kept": KEPT} | seen), DisasterPolicy(**policy or {}))


@pytest.mark.parametrize(
    ("places", "seen", "way", "node"),
    [
        ((down("n1"), standby("n2")), {}, "start", "n1"),
        ((down("n1"), down("n2", standby_signal=True)), {}, "start", "n1"),
        ((down("n1"),), {"recorded": None}, "start", "n1"),
        ((gone("n1"), standby("n2")), {}, "failover", "n2"),
        ((down("n1", reachable=False), standby("n2"), standby("n3", lsn=at(9.75))), {}, "failover", "n3"),
        ((down("n1", processes=3), standby("n2")), {}, "failover", "n2"),
        ((down("n1"), standby("n2", timeline=2)), {}, "failover", "n2"),
        ((down("n1"), down("n2", timeline=2)), {}, "start", "n2"),
        ((down("n1"), down("n2")), {}, "start", "n1"),
        ((down("n1"), down("n2")), {"recorded": None}, "restore", "n1"),
        ((gone("n1"), down("n2")), {}, "restore", "n1"),
        ((gone("n1"), standby("n2", nofailover=True)), {}, "restore", "n1"),
        (LOST, {}, "restore", "n1"),
        ((down("n1", directory="unknown"), gone("n2")), {}, "restore", "n1"),
        ((gone("n1", reachable=False), gone("n2")), {}, "restore", "n2"),
        ((down("n1", standby_signal=True), down("n2", standby_signal=True)), {}, "restore", "n1"),
    ],
)
def test_the_cheapest_way_that_loses_nothing_is_taken(places, seen, way, node):
    """Start what is only down, else let a standby take over, else restore."""
    plan = decided(*places, **seen).plan
    assert (plan.way, plan.node) == (way, node)
    assert len(plan.assessed) == len(places) + 1


@pytest.mark.parametrize(
    ("places", "policy", "verdict", "says"),
    [
        ((primary(),), {}, "nothing", "n1 takes writes: the database is not lost"),
        ((primary(),), {"way": "restore"}, "refuse", "To replace it run backup-restore"),
        ((gone(),), {"way": "start"}, "refuse", "start: no node that was the primary is merely down"),
        ((gone(),), {"way": "failover"}, "refuse", "failover: no standby answers"),
        ((down(), standby("n2")), {"way": "restore", "node": "n9"}, "refuse", "this cluster has no node `n9`"),
        ((gone(sees_repository=False),), {}, "refuse", "restore: The host of n1 does not see the repository"),
        ((gone(reachable=False),), {}, "refuse", "n1: its host cannot be reached."),
    ],
)
def test_without_a_way_back_it_is_said_what_is_dead_and_what_was_tried(places, policy, verdict, says):
    """Each way has its own reason; a database that takes writes is not recovered over."""
    decision = decided(*places, policy=policy)
    assert decision.verdict == verdict
    assert says in decision.why


def test_a_repository_that_cannot_be_read_is_said_with_the_rest():
    """The operator sees at once that servers and backups are gone together."""
    seen = view(*LOST, problem="no route to host").model_copy(update={"listing": None})
    assert "No way back was found" in decide_disaster(seen, DisasterPolicy()).why
    assert assess(seen)[-1] == "The repository cannot be read: no route to host"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (standby("n2"), "n2 answers as a standby, at 0/9800000."),
        (gone("n2", reachable=False), "n2: its host cannot be reached."),
        (gone("n2"), "n2: its data directory is gone."),
        (gone("n2", directory="unknown"), "n2: its directory holds no database."),
        (down("n2", processes=3), "n2: 3 processes are there, but it does not answer."),
        (down("n2"), "n2 is down; its data directory is there."),
    ],
)
def test_every_node_is_assessed_in_a_sentence(place, said):
    """What is dead is told apart from what is only silent."""
    assert assess(view(place, kept=KEPT))[0] == said


@pytest.mark.parametrize(
    ("places", "seen", "policy", "asks"),
    [
        (LOST, {}, {}, ""),
        (LOST, {"kept": HOLE, "proofs": (proof(6.5),)}, {}, "WAL that comes after 0/6800000 cannot be used"),
        (LOST, {"proofs": (proof(8.5, broken="invalid checksum"),)}, {}, "(invalid checksum)"),
        (LOST, {"kept": HOLE, "proofs": (proof(6.5),)}, {"accept_hole": True}, ""),
        ((gone("n1"), gone("n2", reachable=False)), {}, {}, "The host of n2 cannot be reached"),
        ((gone("n1"), gone("n2", reachable=False)), {"proofs": (proof(8.5, broken="x"),)}, {}, "cannot be used (x)"),
    ],
)
def test_a_person_is_asked_where_something_is_lost_or_cannot_be_proven(places, seen, policy, asks):
    """A hole, a damaged record, a host that may still run a primary."""
    plan = decided(*places, policy=policy, **seen).plan
    assert plan.way == "restore"
    assert (asks in plan.ask) if asks else plan.ask == ""


def test_every_reason_to_ask_is_told():
    """Who approves a hole must not overlook that a host is not fenced."""
    seen = {"kept": HOLE, "proofs": (proof(6.5),)}
    ask = decided(gone("n1"), gone("n2", reachable=False), **seen).plan.ask
    assert "cannot be used" in ask
    assert "The host of n2 cannot be reached" in ask


def test_a_way_that_was_asked_for_is_the_only_one_tried():
    """Whoever knows that the directory is damaged restores although it looks merely down."""
    assert decided(down(), policy={"way": "restore"}).plan.way == "restore"
    assert decided(down(), standby("n2"), policy={"way": "failover"}).plan.way == "failover"


def test_a_start_and_a_failover_say_what_they_lose():
    """Nothing in the one case, what postgres-failover says in the other."""
    assert decided(down()).plan.loss.startswith("Nothing: whatever was acknowledged")
    assert decided(gone(), standby("n2")).plan.loss.startswith("What postgres-failover says")


def test_a_failover_leaves_the_lease_of_the_cluster_to_the_flow_that_does_it():
    """Else both would wait for each other."""
    assert decided(gone(), standby("n2")).plan.resource == "recovery.disasters.orders"
    assert decided(down()).plan.resource == "recovery.postgres.orders"


def test_a_disaster_whose_set_is_already_in_place_goes_on():
    """A run that died after the exchange is finished by the next one, whatever the node looks like now."""
    plan = decided(*LOST).plan
    again = decided(down("n1", restored=plan.stamp), gone("n2"), unfinished_disaster=plan, recorded=recorded())
    assert again.plan.stamp == plan.stamp
    assert again.plan.way == "restore"
