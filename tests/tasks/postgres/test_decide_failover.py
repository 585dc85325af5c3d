from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.postgres.candidates import SyncRule, settled, sync_setting
from tasks.postgres.decide import decide_failover
from tasks.postgres.judge import figures_of, judge_failover, judge_loss
from tasks.postgres.policies import FailoverPolicy
from tasks.postgres.state import Activity, Cluster, Managed
from tests.tasks.postgres.worlds import (
    DOWN,
    UNREACHABLE,
    cluster,
    crashed,
    gone,
    healthy,
    primary,
    receiver,
    recorded,
    recovered,
    route,
    standby,
)

POLICY = FailoverPolicy()
PATRONI = Managed(leader="n1", members=("n1", "n2", "n3"), streaming=("n2",), paused=False, ttl_seconds=30)


def plan_of(seen: Cluster, policy: FailoverPolicy = POLICY):
    decision = decide_failover(seen, policy)
    assert decision.plan is not None, decision.why
    return decision.plan


def test_a_healthy_cluster_is_left_alone():
    """A primary that takes writes and is routed to means there is nothing to do."""
    assert decide_failover(healthy(), POLICY).verdict == "nothing"


def test_the_most_advanced_standby_is_promoted():
    """The standby with the most WAL takes over and the other one follows it."""
    plan = plan_of(crashed())
    assert (plan.old_primary, plan.candidate, plan.siblings) == ("n1", "n2", ("n3",))
    assert plan.fences == (("n1", "process"), ("n1", "sync"))
    assert plan.sync_names == "ANY 1 (n3)"
    assert (plan.zero_loss, plan.lost_bytes, plan.ask) == (True, 0, "")


def test_a_tie_goes_to_the_preferred_standby():
    """`candidate` decides between equals only."""
    equal = cluster(gone(), standby("n2"), standby("n3"))
    assert plan_of(equal, FailoverPolicy(candidate="n3")).candidate == "n3"
    assert plan_of(crashed(), FailoverPolicy(candidate="n3")).candidate == "n2"


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (cluster(primary()), "one node"),
        (cluster(gone(), gone("n2", answer="denied"), standby("n3")), "does not let Salvor in"),
        (cluster(gone(), standby("n2"), standby("n3"), managers=("patroni", "repmgr")), "both manage"),
        (cluster(gone(), standby("n2"), standby("n3"), managers=("repmgr",)), "the block does not know it"),
        (cluster(gone(), standby("n2"), standby("n3", system_identifier="78")), "different system identifiers"),
        (cluster(primary(), primary("n2", timeline=2), standby("n3")), "both take writes"),
        (cluster(gone(), standby("n2", upstream=receiver()), standby("n3")), "still receives from n1"),
        (cluster(gone(answer="starting"), standby("n2"), standby("n3")), "is starting up"),
        (cluster(gone(host=UNREACHABLE), standby("n2"), gone("n3", host=UNREACHABLE)), "Only a minority"),
        (cluster(gone(), standby("n2", may_promote=False), standby("n3", may_promote=False)), "pg_promote"),
        (cluster(gone(), *(standby(n).model_copy(update={"nofailover": True}) for n in ("n2", "n3"))), "nofailover"),
        (cluster(gone(), gone("n4"), standby("n2"), standby("n3"), standby("n5"), recorded=None), "Nobody knows"),
        (cluster(standby("n1"), standby("n2"), standby("n3")), "is a standby now"),
        (cluster(gone(), standby("n2"), standby("n3"), recorded=recorded(node="n9")), "Nobody knows"),
    ],
)
def test_a_world_that_is_not_understood_is_refused(seen, says):
    """Each thing that speaks against a failover is said in a sentence, and there is no plan."""
    decision = decide_failover(seen, POLICY)
    assert (decision.verdict, decision.plan) == ("refuse", None)
    assert says in decision.why


def test_why_nobody_may_be_promoted_names_every_reason():
    """A standby on an older timeline than its sibling is no candidate, and the refusal says so of each node."""
    seen = cluster(
        gone(),
        standby("n2", timeline=1),
        standby("n3", timeline=2).model_copy(update={"nofailover": True}),
        recorded=recorded(timeline=2),
    )
    why = decide_failover(seen, POLICY).why
    assert "n1 does not answer" in why
    assert "n2 is on timeline 1, not 2" in why
    assert "n3 is marked nofailover" in why


def test_loss_beyond_the_rpo_is_refused_and_then_overridden():
    """Without synchronous replication a lagging candidate is refused until the policy allows the loss."""
    seen = crashed(recorded=recorded(lsn=5_000_000, sync=""))
    assert "behind n1" in decide_failover(seen, POLICY).why
    plan = plan_of(seen, FailoverPolicy(rpo_bytes=10_000_000))
    assert plan.lost_bytes == 4_999_000
    assert "At most 4999000 bytes" in plan.loss


def test_synchronous_replication_overrules_the_byte_count():
    """What was written but not acknowledged does not count as loss."""
    plan = plan_of(crashed(recorded=recorded(lsn=5_000_000)))
    assert (plan.zero_loss, plan.lost_bytes) == (True, 0)
    assert judge_loss(plan).holds


def test_no_fence_means_a_person_is_asked():
    """An unreachable host without synchronous replication is promoted around only when somebody agrees."""
    seen = crashed(recorded=recorded(sync="")).model_copy(
        update={"nodes": (gone(host=UNREACHABLE, answer="silent"), standby("n2"), standby("n3"))}
    )
    assert "no fence can be proven for n1" in plan_of(seen).ask
    assert plan_of(seen.model_copy(update={"poolers_are_the_only_way_in": True})).fences == (("n1", "route"),)


def test_a_standby_that_is_passed_over_breaks_the_synchronous_fence():
    """A nofailover standby is not taken off the primary, and would go on confirming commits of a frozen one."""
    lone = gone(host=UNREACHABLE, answer="silent")
    aside = standby("n3").model_copy(update={"nofailover": True})
    assert plan_of(cluster(lone, standby("n2"), standby("n3"))).fences == (("n1", "sync"),)
    assert "no fence can be proven for n1" in plan_of(cluster(lone, standby("n2"), aside)).ask


def test_a_primary_that_was_stopped_in_order_is_not_failed_over_without_a_word():
    """Somebody stopped or restarts it: a person is asked, since only a crash leaves no shutdown checkpoint."""
    stopped = gone(host=DOWN.model_copy(update={"clean": True}))
    assert "shut down in order" in plan_of(cluster(stopped, standby("n2"), standby("n3"))).ask


def test_a_role_that_may_not_see_receivers_is_refused():
    """A receiver that is hidden must not be taken for one that is gone."""
    seen = cluster(gone(), standby("n2", upstream=receiver(status="hidden")), standby("n3"))
    assert "GRANT pg_monitor" in decide_failover(seen, POLICY).why


def test_a_power_fence_counts_where_the_block_has_one():
    """A fence command makes an unreachable host fenceable; the policy may leave fences out."""
    lone = gone(host=UNREACHABLE, can_power_off=True)
    seen = cluster(lone, standby("n2"), standby("n3"), recorded=recorded(sync=""))
    assert plan_of(seen).fences == (("n1", "power"),)
    assert plan_of(seen, FailoverPolicy(fences=("process",))).ask


def test_an_unknown_loss_means_a_person_is_asked():
    """Nobody recorded the primary's position: the plan says so and asks."""
    seen = cluster(gone(), standby("n2"), standby("n3"), recorded=None)
    plan = plan_of(seen)
    assert (plan.lost_bytes, "nobody knows how much" in plan.ask) == (None, True)
    assert "Unknown" in plan.loss
    assert figures_of(plan, Activity(asked=False)) == {}
    assert judge_loss(plan).seen == "unknown; approved by a person"


def test_the_lost_primary_is_remembered_by_its_standbys():
    """Without a record the upstream that the standbys name is the primary that was lost."""
    quiet = receiver(silence_seconds=60.0)
    seen = cluster(
        gone(), gone("n4"), standby("n2", upstream=quiet), standby("n3", upstream=quiet), standby("n5"), recorded=None
    )
    assert plan_of(seen).old_primary == "n1"


def test_a_quiet_stream_counts_as_dead_only_after_its_ping_is_due():
    """A standby with the default timeout of 60 s must be silent for longer than 30 s before it agrees."""
    slow = receiver(silence_seconds=20.0, ping_seconds=30.0)
    seen = cluster(gone(answer="silent", host=DOWN), standby("n2", upstream=slow), standby("n3"))
    assert "still receives" in decide_failover(seen, POLICY).why


def test_a_cut_off_run_is_finished():
    """A candidate that was promoted before the run died is routed to, even while the old primary is back."""
    plan = plan_of(crashed())
    half = cluster(gone(), primary("n2", timeline=2), standby("n3"), unfinished=plan)
    assert plan_of(half) == plan
    zombie = half.model_copy(update={"nodes": (primary("n1"), *half.nodes[1:])})
    assert plan_of(zombie) == plan


def test_a_cut_off_run_that_promoted_nobody_is_begun_anew():
    """The old primary was given back before the run died: the cluster is healthy, and nothing is left to finish."""
    assert decide_failover(healthy(unfinished=plan_of(crashed())), POLICY).verdict == "nothing"


def test_the_candidate_that_turned_out_most_advanced_is_the_one_that_is_finished():
    """The run had promoted a sibling of the approved candidate: what is left is done for the sibling."""
    plan = plan_of(crashed())
    rest = plan_of(cluster(standby("n1"), standby("n2"), primary("n3", timeline=2), unfinished=plan))
    assert (rest.candidate, rest.siblings, rest.sync_names, rest.fences) == ("n3", ("n2",), "ANY 1 (n2)", ())


def test_positions_that_stand_still_choose_the_candidate():
    """The most advanced standby takes over; a tie leaves the approved candidate."""
    plan = plan_of(crashed())
    assert settled(plan, {"n2": 5, "n3": 9}).candidate == "n3"
    assert settled(plan, {"n2": 9, "n3": 9}) == plan
    assert settled(plan, {}) == plan


def test_a_candidate_that_died_in_promotion_is_fenced_too():
    """The next candidate takes over, and both the old primary and the dead candidate are fenced."""
    plan = plan_of(crashed())
    seen = cluster(gone(), gone("n2"), standby("n3"), standby("n4"), unfinished=plan, recorded=recorded(sync=""))
    again = plan_of(seen)
    assert again.candidate == "n3"
    assert again.fences == (("n1", "process"), ("n2", "process"))


def test_clients_that_are_sent_astray_are_routed():
    """Somebody promoted by hand: clients are led to the node that takes writes, and nobody is fenced or promoted."""
    seen = cluster(standby("n1", timeline=2), primary("n2", timeline=2), standby("n3", timeline=2))
    plan = plan_of(seen)
    assert (plan.candidate, plan.old_primary, plan.timeline, plan.fences) == ("n2", "n1", 1, ())
    assert decide_failover(seen.model_copy(update={"routes": (route("n2"),)}), POLICY).verdict == "nothing"


def test_an_application_that_was_not_restarted_is_led_over_again():
    """A file that leads to the primary proves nothing while a restart is owed: the next run finishes that."""
    seen = healthy(routes=(route(restart_owed=True),))
    plan = plan_of(seen)
    assert (plan.candidate, plan.old_primary, plan.fences) == ("n1", "nobody", ())
    led = {e.claim: e for e in judge_failover(plan, seen, Activity(asked=False))}["pooler sends clients to n1"]
    assert (led.holds, led.seen) == (False, "db:1 not restarted")


def test_patroni_is_conducted_never_overtaken():
    """A managed cluster without a leader gets a plan that fences nobody."""
    seen = crashed(managers=("patroni",), managed=PATRONI)
    plan = plan_of(seen)
    assert (plan.mode, plan.fences) == ("managed", ())
    assert "only it may promote" in plan.why


@pytest.mark.parametrize(
    ("seen", "verdict", "says"),
    [
        (healthy(managed=PATRONI), "nothing", "leads under Patroni"),
        (crashed(managed=PATRONI.model_copy(update={"paused": True})), "refuse", "paused"),
        (cluster(primary(), primary("n2"), standby("n3"), managed=PATRONI), "refuse", "both take writes"),
        (crashed(managed=PATRONI.model_copy(update={"problem": "no answer"})), "refuse", "does not answer (no answer)"),
        (cluster(gone(), standby("n2", may_promote=False), managed=PATRONI), "refuse", "no leader"),
        (cluster(gone(), primary("n2", timeline=2), managed=PATRONI), "go", "sends clients elsewhere"),
    ],
)
def test_each_state_of_a_managed_cluster(seen, verdict, says):
    """Patroni's own states are told apart, and the sentence says which."""
    decision = decide_failover(seen, POLICY)
    assert decision.verdict == verdict
    assert says in decision.why


@pytest.mark.parametrize(
    ("text", "heard", "vouches"),
    [
        ("ANY 1 (n2, n3)", {"n2", "n3"}, True),
        ("ANY 1 (n2, n3)", {"n2"}, False),
        ("ANY 2 (n2, n3)", {"n2"}, True),
        ('FIRST 1 ("n2", n3)', {"n2", "n3"}, True),
        ("n2, n3", {"n3"}, False),
        ("n2", {"n2"}, True),
        ("*", {"n2", "n3"}, False),
        ("", {"n2"}, False),
        ("ANY (", {"n2"}, False),
        ("((", {"n2"}, False),
    ],
)
def test_readers_and_writers_overlap(text, heard, vouches):
    """A commit is safe when the standbys we hear and those that had to acknowledge it must overlap."""
    assert SyncRule(text).vouches(frozenset(heard)) is vouches


def test_the_new_rule_never_asks_for_more_standbys_than_there_are():
    """A lone survivor must take writes alone rather than wait for ever."""
    assert sync_setting(2, ("n2",)) == "ANY 1 (n2)"
    assert sync_setting(1, ()) == ""


@given(lsns=st.lists(st.integers(0, 10_000_000), min_size=2, max_size=4), last=st.integers(0, 10_000_000))
def test_never_promotes_beyond_the_rpo(lsns, last):
    """Whatever the positions are, an asynchronous plan loses at most rpo_bytes and takes the most advanced standby."""
    names = ["n2", "n3", "n4", "n5"]
    nodes = [standby(n, lsn=lsn) for n, lsn in zip(names, lsns, strict=False)]
    decision = decide_failover(cluster(gone(), *nodes, recorded=recorded(lsn=last, sync="")), POLICY)
    behind = max(0, last - max(lsns))
    assert (decision.verdict == "go") == (behind <= POLICY.rpo_bytes)
    if decision.plan:
        assert decision.plan.lost_bytes == behind
        assert (
            max(n.server.lsn for n in nodes) == next(n for n in nodes if n.name == decision.plan.candidate).server.lsn
        )


@given(lsns=st.lists(st.integers(0, 1000), min_size=2, max_size=4))
def test_deciding_after_the_acts_finds_nothing_to_do(lsns):
    """The world that a plan makes needs no further plan, and all its evidence holds."""
    nodes = [standby(n, lsn=lsn) for n, lsn in zip(["n2", "n3", "n4", "n5"], lsns, strict=False)]
    plan = plan_of(cluster(gone(), *nodes, recorded=recorded(sync="")))
    after = recovered(plan)
    assert decide_failover(after, POLICY).verdict == "nothing"
    evidence = judge_failover(plan, after, Activity(asked=False))
    assert all(e.holds for e in evidence), evidence
