from __future__ import annotations

import pytest

from tasks.postgres.decide_switchover import decide_switchover
from tasks.postgres.judge import figures_of, judge_switchover, unlooked
from tasks.postgres.policies import SwitchoverPolicy
from tasks.postgres.state import Activity, Host, Managed, Sender
from tests.tasks.postgres.worlds import UNREACHABLE, cluster, gone, healthy, primary, receiver, route, standby

POLICY = SwitchoverPolicy()
QUIET = Activity(asked=False)
PATRONI = Managed(leader="n1", members=("n1", "n2"), streaming=("n2",), paused=False, ttl_seconds=30)


def world(first=None, second=None, **given):
    lead = first or primary(feeds=("n2", "n3"))
    return cluster(lead, second or standby("n2", upstream=receiver()), standby("n3", upstream=receiver()), **given)


def test_a_healthy_cluster_hands_over_to_the_standby_that_is_least_behind():
    """The plan names both ends, who follows, and that clients are held meanwhile."""
    plan = decide_switchover(healthy(), POLICY).plan
    assert (plan.old_primary, plan.candidate, plan.siblings) == ("n1", "n2", ("n3",))
    assert plan.sync_names == "ANY 1 (n3, n1)"
    assert "clients are held by pooler" in plan.loss
    assert plan.mode == "unmanaged"


def test_without_a_pooler_the_errors_are_announced():
    """Clients that connect directly will see errors, and the plan says so before anything is done."""
    assert "clients see errors" in decide_switchover(healthy(routes=()), POLICY).plan.loss


def test_the_wanted_candidate_is_taken_and_a_done_switchover_is_not_repeated():
    """`candidate` is obeyed; when it is primary already there is nothing to do."""
    assert decide_switchover(healthy(), SwitchoverPolicy(candidate="n3")).plan.candidate == "n3"
    assert decide_switchover(healthy(), SwitchoverPolicy(candidate="n1")).verdict == "nothing"


def test_patroni_is_asked_to_switch_over():
    """A managed cluster is switched by its manager."""
    assert decide_switchover(healthy(managed=PATRONI), POLICY).plan.mode == "managed"


def test_patroni_is_asked_for_the_standby_that_confirms_commits():
    """It refuses any other, so a standby that confirms is taken before one that is less behind."""
    lead = primary()
    behind = {"n2": ("async", 0), "n3": ("sync", 500)}
    senders = tuple(Sender(name=n, state="streaming", sync=how, lag_bytes=lag) for n, (how, lag) in behind.items())
    lead = lead.model_copy(update={"server": lead.server.model_copy(update={"senders": senders})})
    assert decide_switchover(world(lead, managed=PATRONI), POLICY).plan.candidate == "n3"
    assert decide_switchover(world(lead), POLICY).plan.candidate == "n2"


LAGGING = primary(feeds=("n2", "n3"))
LAGGING = LAGGING.model_copy(
    update={
        "server": LAGGING.server.model_copy(
            update={"senders": tuple(s.model_copy(update={"lag_bytes": 99_999_999}) for s in LAGGING.server.senders)}
        )
    }
)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (cluster(primary()), "one node"),
        (cluster(primary(), primary("n2")), "both take writes"),
        (cluster(gone(), standby("n2")), "run postgres-failover"),
        (healthy(managed=PATRONI.model_copy(update={"paused": True})), "Patroni is paused"),
        (cluster(primary(), gone("n2")), "No standby can take over"),
        (world(first=primary(feeds=("n3",)), second=standby("n2", lsn=1000)), ""),
        (cluster(primary(), standby("n2")), "does not stream"),
        (world(first=LAGGING), "bytes behind"),
        (world(second=standby("n2", replay_paused=True)), "Replay is paused"),
        (world(first=primary(feeds=("n2", "n3"), prepared_transactions=1)), "prepared transactions"),
        (world(routes=(route(problem="connection refused"),)), "does not answer"),
        (world(routes=(route("n3"),)), "sends clients to"),
        (world(routes=(route(restart_owed=True),)), "was not restarted: run postgres-failover"),
        (world(first=primary(feeds=("n2", "n3")).model_copy(update={"host": UNREACHABLE})), "cannot be controlled"),
    ],
)
def test_whatever_would_cost_a_row_or_an_error_is_refused(seen, says):
    """Each obstacle to a lossless move is a sentence that says what to mend."""
    decision = decide_switchover(seen, SwitchoverPolicy(candidate="n2") if says == "Replay is paused" else POLICY)
    assert decision.verdict == ("refuse" if says else "go")
    assert says in decision.why


def test_a_switchover_that_was_cut_off_is_finished():
    """Once the old primary has stopped in order, or the candidate was promoted, the same plan goes on."""
    plan = decide_switchover(healthy(), POLICY).plan
    clean = gone("n1", host=Host(reachable=True, directory="present", clean=True))
    stopped = cluster(clean, standby("n2"), standby("n3"), unfinished_switchover=plan)
    assert decide_switchover(stopped, POLICY).plan == plan
    moved = cluster(clean, primary("n2", timeline=2), standby("n3"), unfinished_switchover=plan)
    assert decide_switchover(moved, POLICY).plan == plan
    crashed = cluster(gone("n1"), standby("n2"), standby("n3"), unfinished_switchover=plan)
    assert "run postgres-failover" in decide_switchover(crashed, POLICY).why


def test_a_switchover_that_ended_is_gone_on_with_only_while_something_is_left_of_it():
    """The next one that is asked for is a new one; but a run that resumes a dead one never moves anybody twice."""
    plan = decide_switchover(healthy(), POLICY).plan
    lead = primary("n2", feeds=("n1", "n3"), timeline=2, synchronous_standby_names=plan.sync_names)
    done = [standby(n, upstream=receiver("n2"), timeline=2) for n in ("n1", "n3")]
    over = cluster(lead, *done, routes=(route("n2"),), unfinished_switchover=plan)
    assert decide_switchover(over, POLICY).plan.old_primary == "n2"
    resumed = over.model_copy(update={"under_way": ("postgres-switchover",)})
    assert decide_switchover(resumed, POLICY).plan == plan
    held = over.model_copy(update={"routes": (route("n2", paused=True),)})
    assert decide_switchover(held, POLICY).plan == plan


def test_a_refusal_says_who_lets_clients_go_that_a_dead_run_holds():
    """The run that goes on for it may not touch them, and they must not wait for ever."""
    held = (route(paused=True),)
    refused = decide_switchover(cluster(primary(), gone("n2"), routes=held), POLICY)
    assert (refused.verdict, "held at pooler: postgres-failover" in refused.why) == ("refuse", True)
    assert decide_switchover(world(routes=held), POLICY).verdict == "go"


def test_an_unknown_candidate_is_refused_by_name():
    """A wish that cannot be met is not replaced by another node."""
    assert "no node n9" in decide_switchover(healthy(), SwitchoverPolicy(candidate="n9")).why


def test_the_old_primary_must_follow_for_the_switchover_to_be_proven():
    """Evidence holds only when the old primary streams from the new one."""
    plan = decide_switchover(healthy(), POLICY).plan
    lead = primary("n2", feeds=("n1", "n3"), timeline=2, synchronous_standby_names=plan.sync_names)
    done = [standby(n, upstream=receiver("n2"), timeline=2) for n in ("n1", "n3")]
    after = cluster(lead, *done, routes=(route("n2"),))
    assert all(e.holds for e in judge_switchover(plan, after, QUIET))
    lost = cluster(lead, gone("n1"), done[1], routes=(route("n2", paused=True),))
    assert [e.claim for e in judge_switchover(plan, lost, QUIET) if not e.holds] == [
        "pooler sends clients to n2",
        "n1 follows n2",
    ]


def test_managed_evidence_leaves_the_sync_rule_to_patroni():
    """Patroni writes synchronous_standby_names itself, so it is not judged."""
    plan = decide_switchover(healthy(managed=PATRONI), POLICY).plan
    assert not [e for e in judge_switchover(plan, healthy(), QUIET) if "commits wait" in e.claim]


def test_the_report_says_what_was_not_looked_at():
    """Logical slots and direct clients are named, so that silence is not taken for proof."""
    plan = decide_switchover(healthy(), POLICY).plan
    after = cluster(gone(), primary("n2", logical_slots=("cdc",)), standby("n3"))
    assert any("cdc" in line for line in unlooked(plan, after, QUIET))
    assert any("none" in line for line in unlooked(plan, cluster(gone(), gone("n2")), QUIET))
    assert any("run postgres-rejoin for it" in line for line in unlooked(plan, cluster(gone(), gone("n2")), QUIET))
    back = cluster(standby("n1"), primary("n2"), standby("n3"))
    assert not any("postgres-rejoin" in line for line in unlooked(plan, back, QUIET))
    assert any("activity_sql" in line for line in unlooked(plan, after, QUIET))
    assert not any("activity_sql" in line for line in unlooked(plan, after, Activity(asked=True)))


@pytest.mark.parametrize(
    ("activity", "seen", "holds"),
    [
        (Activity(asked=True, again=True, longest_gap_seconds=0.3), "stopped for 0.30 s", True),
        (Activity(asked=True, again=True, longest_gap_seconds=9.0), "stopped for 9.00 s", False),
        (Activity(asked=True), "no row since the move", False),
        (Activity(asked=True, problem="n2 refused it"), "n2 refused it", False),
    ],
)
def test_the_outage_is_what_the_rows_say(activity, seen, holds):
    """RTO is held against the longest gap between rows of the application; no row means no proof."""
    plan = decide_switchover(healthy(), POLICY).plan
    said = judge_switchover(plan, healthy(), activity)[-1]
    assert (seen in said.seen, said.holds) == (True, holds)
    assert ("rto_seconds" in figures_of(plan, activity)) == activity.again
