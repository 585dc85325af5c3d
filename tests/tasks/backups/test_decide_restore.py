"""From which set, to where, by whom: and every reason why not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from blocks.backup_records import shown
from tasks.backups.aims import settled
from tasks.backups.decide_drill import decide_drill
from tasks.backups.decide_restore import decide_restore
from tasks.backups.policies import DrillPolicy, RestorePolicy
from tests.tasks.backups.worlds import (
    DEAD,
    GIGABYTE,
    NOW,
    a_set,
    ago,
    at,
    down,
    fork,
    gone,
    listing,
    primary,
    proof,
    recorded,
    standby,
    view,
    wal,
)

SETS = (a_set("s1", 2, days=3), a_set("s2", 5, days=2), a_set("s3", 8, days=1, restore_point="salvor-s3"))
KEPT = listing(*SETS)
HOLE = listing(*SETS[:2], files=wal(1, 9, without=(7,)))
END = "the last record of the WAL, 0/9800000, whose last commit is of 2026-11-29 11:59:00 UTC"


def decided(policy=None, *places, **seen):
    return decide_restore(view(*places, **{"kept": KEPT, "point": at(9)} | seen), RestorePolicy(**policy or {}))


def time(minutes: float) -> dict[str, str]:
    return {"target": "time", "to": (NOW - timedelta(minutes=minutes)).isoformat()}


@pytest.mark.parametrize(
    ("policy", "kind", "value", "said"),
    [
        ({}, "lsn", "0/9800000", END),
        (time(5), "time", (NOW - timedelta(minutes=5)).isoformat(), "2026-11-29 11:55:00.000000 UTC"),
        ({"target": "lsn", "to": "0/9000000"}, "lsn", "0/9000000", "the position 0/9000000"),
        ({"target": "name", "to": "before"}, "name", "before", "the restore point before"),
        ({"target": "set", "to": "s3"}, "name", "salvor-s3", "the restore point salvor-s3"),
    ],
)
def test_the_target_is_always_explicit(policy, kind, value, said):
    """PostgreSQL is told where to stop, on which timeline; never "the end", where a hole looks like one."""
    plan = decided(policy).plan
    assert (plan.aim.kind, plan.aim.value, plan.aim.said, plan.aim.timeline) == (kind, value, said, 1)
    assert plan.why == f"Restore n1 from s3 to {said}" + (
        "." if policy.get("target") == "set" else "; if that set is damaged, from s2, s1."
    )


def test_a_moment_between_the_last_commit_and_now_is_the_end_of_the_wal():
    """Nothing was committed since; PostgreSQL would wait in vain for a later commit."""
    plan = decided(time(0.5)).plan
    assert (plan.aim.kind, plan.aim.lsn) == ("lsn", at(9.5))


def test_the_moment_of_the_last_commit_is_reached_at_the_end_of_the_wal():
    """PostgreSQL stops at a time only when it meets a later commit, and there is none."""
    for kept in (KEPT, KEPT.model_copy(update={"archive": KEPT.archive.model_copy(update={"receiver": DEAD})})):
        plan = decided(time(1), kept=kept).plan
        assert (plan.aim.kind, plan.aim.lsn) == ("lsn", at(9.5))


def test_a_moment_is_said_in_one_zone():
    """Whoever wrote it with an hour's offset reads the same moment in UTC."""
    plan = decided({"target": "time", "to": "2026-11-29T12:55:00+01:00"}).plan
    assert plan.aim.said == "2026-11-29 11:55:00.000000 UTC"
    assert plan.aim.value == "2026-11-29T11:55:00+00:00"


def test_a_moment_before_a_timeline_that_has_no_commit_yet_is_still_that_moment():
    """After a failover the new history may be empty; the commits of the old one are not passed by."""
    kept = listing(*SETS, files=wal(1, 9) + wal(9, 9, 2), branches=(fork(2, 9.5),))
    proofs = (proof(9.5, minutes=1), proof(9.6, minutes=None, timeline=2))
    plan = decided(time(5), primary(timeline=2), kept=kept, proofs=proofs, recorded=recorded(timeline=2)).plan
    assert (plan.aim.kind, plan.aim.timeline) == ("time", 2)


@pytest.mark.parametrize(("place", "expected"), [(primary(timeline=2), 2), (gone("n1"), 2)])
def test_a_record_that_is_older_than_the_newest_set_does_not_lead_back(place, expected):
    """After a restore the primary, or without one the set that protects it, says which history is production's."""
    kept = listing(*SETS, a_set("s4", 9.6, timeline=2), files=wal(1, 9) + wal(9, 9, 2), branches=(fork(2, 9.5),))
    old = recorded().model_copy(update={"at": NOW - timedelta(days=9)})
    plan = decided({}, place, kept=kept, proofs=(proof(9.7, timeline=2),), recorded=old).plan
    assert (plan.aim.timeline, plan.chains[0][-1]) == (expected, "s4")


@pytest.mark.parametrize(
    ("policy", "found", "kind", "value"),
    [
        ({}, proof(9.75, minutes=0.1), "lsn", "0/9C00000"),
        ({}, proof(9.25), "lsn", "0/9800000"),
        (time(0.5), proof(9.75, minutes=0.6), "lsn", "0/9C00000"),
        (time(0.5), proof(9.75, minutes=0.1), "time", (NOW - timedelta(minutes=0.5)).isoformat()),
        (time(5), proof(9.75, minutes=0.1), "time", (NOW - timedelta(minutes=5)).isoformat()),
        ({"target": "set", "to": "s2"}, proof(9.75), "immediate", ""),
    ],
)
def test_wal_that_was_salvaged_leads_further_but_never_past_the_moment_wanted(policy, found, kind, value):
    """What was committed after the moment may be in the damaged directory; it stays there."""
    aim = settled(decided(policy).plan.aim, found)
    assert (aim.kind, aim.value) == (kind, value)


def test_when_nothing_was_committed_since_the_set_a_moment_after_it_is_the_end_of_the_wal():
    """Every moment since then has the same rows."""
    plan = decided(time(600), proofs=(proof(minutes=None),)).plan
    assert (plan.aim.kind, plan.aim.lsn) == ("lsn", at(9.5))


@pytest.mark.parametrize(
    ("policy", "seen", "says"),
    [
        ({}, {"kept": listing()}, "holds no set"),
        ({}, {"kept": listing(*SETS, system_identifier="88")}, "of another cluster (88, this is 77)"),
        ({"node": "n9"}, {}, "no node `n9`, only n1"),
        (time(-5), {}, "lies in the future"),
        (time(60 * 24 * 4), {}, "the oldest set, s1, ended at"),
        ({"target": "lsn", "to": shown(at(9.6))}, {}, "can be read up to 0/9800000 only, not to 0/999999"),
        ({"target": "lsn", "to": shown(at(7.1))}, {"kept": HOLE, "proofs": (proof(6.5),)}, "1 files are missing"),
        ({}, {"kept": HOLE, "proofs": (proof(6.5),)}, "(of the WAL 1 files are missing). With `accept_hole`"),
        ({}, {"proofs": (proof(8.5, broken="invalid checksum"),)}, "(invalid checksum). With `accept_hole`"),
        (time(0.5), {"proofs": (proof(8.5, broken="invalid checksum"),)}, "nothing later can be had"),
        (time(0.5), {"kept": HOLE, "proofs": (proof(6.5),)}, "1 files are missing): nothing later can be had"),
        (time(0.5), {"kept": listing(*SETS, receiver=DEAD)}, "is of 2026-11-29 11:59:00.000000 UTC: nothing later"),
        (time(0.5), {"kept": listing(*SETS, receiver=None)}, "nothing later can be had"),
        ({"target": "name", "to": "x"}, {"point": None}, "There is no restore point `x` in the WAL"),
        ({"target": "name", "to": "x"}, {"point": at(9.6)}, "up to 0/9800000 only, and x is at 0/9999999"),
        (
            {},
            {"kept": listing(*SETS, system_identifier="88"), "last_seen": SETS},
            "of another cluster (88, this is 77)",
        ),
        ({}, {"proofs": ()}, "The WAL after the set could not be read"),
    ],
)
def test_a_target_that_cannot_be_reached_is_refused_before_anything_stops(policy, seen, says):
    """Before the oldest set, after the last WAL, in a hole, behind a damaged record: each has its sentence."""
    decision = decided(policy, **seen)
    assert decision.verdict == "refuse"
    assert says in decision.why


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (down(reachable=False, problem="no route"), "cannot be reached: no route"),
        (down(sees_repository=False), "does not see the repository: mount it"),
        (down(major=17), "is of PostgreSQL 18 and n1 has 17: files are restored by the same version only"),
        (down(free_bytes=GIGABYTE), "needs 1228 MB beside the data directory of n1 and 1024 MB are free"),
    ],
)
def test_a_place_that_cannot_take_the_set_is_refused(place, says):
    """The operator reads what to correct there."""
    decision = decided({}, place)
    assert decision.verdict == "refuse"
    assert says in decision.why


def test_what_an_interrupted_restore_has_copied_counts_as_room():
    """The run that goes on needs only what is still missing."""
    assert decided({}, down(free_bytes=GIGABYTE, held_bytes=GIGABYTE)).verdict == "go"


@pytest.mark.parametrize(
    ("broken", "accepted"),
    [
        ({"kept": HOLE, "proofs": (proof(6.5),)}, "0/6800000"),
        ({"proofs": (proof(8.5, broken="invalid checksum"),)}, "0/8800000"),
    ],
)
def test_a_hole_that_is_accepted_is_where_the_recovery_stops(broken, accepted):
    """What was committed behind it is lost, and the plan says so; nothing is salvaged over it."""
    plan = decided({"accept_hole": True}, **broken).plan
    assert plan.aim.value == accepted
    assert (plan.aim.latest, plan.salvage_from) == (False, 0)
    assert plan.loss.startswith(f"Everything that was committed after the last record of the WAL, {accepted}")


def test_when_no_wal_can_be_used_the_set_itself_is_all_there_is():
    """A recovery must pass the end of the set to be consistent; the WAL up to there is in the set."""
    nothing = proof(8, broken="there is no WAL of timeline 1")
    plan = decided({"accept_hole": True}, proofs=(nothing.model_copy(update={"last_record": at(8) + 40}),)).plan
    assert plan.aim.kind == "immediate"
    assert plan.aim.said == "the end of the set s3"


def test_a_set_without_a_restore_point_is_restored_to_its_own_end():
    """So it is where WAL is not streamed, and the set is all there is."""
    plan = decided({"target": "set", "to": "s2"}, proofs=()).plan
    assert (plan.aim.kind, plan.aim.said) == ("immediate", "the end of the set s2")


@pytest.mark.parametrize(
    ("places", "seen", "node"),
    [
        ((primary("n1"), standby("n2")), {}, "n1"),
        ((down("n1"), down("n2")), {"recorded": recorded("n2")}, "n2"),
        ((down("n1"), primary("n2")), {}, "n2"),
        ((down("n1", reachable=False), gone("n2"), gone("n3", free_bytes=200 * GIGABYTE)), {}, "n3"),
        ((down("n1", reachable=False), gone("n2", nofailover=True), gone("n3")), {}, "n3"),
        ((gone("n1"), gone("n2")), {"recorded": None}, "n1"),
    ],
)
def test_the_last_primary_is_restored_where_it_was(places, seen, node):
    """Else another node whose host is there, the roomiest first."""
    assert decided({}, *places, **seen).plan.node == node


def test_everybody_whose_host_is_reached_is_stopped():
    """A standby that goes on could confirm writes that are then gone; who could not be reached is named."""
    plan = decided({}, primary("n1"), standby("n2"), down("n3"), down("n4", reachable=False)).plan
    assert plan.others == ("n1", "n2", "n3")
    assert (plan.running, plan.was_primary, plan.dead) == (("n1", "n2"), "n1", ("n4",))


def test_a_cluster_of_which_nothing_is_left_is_known_by_its_sets():
    """No node says any more who it is; the repository of another cluster is still not restored in its place."""
    lost = gone("n1", system_identifier="")
    decision = decided({}, lost, kept=listing(*SETS, system_identifier="88"), last_seen=SETS)
    assert "of another cluster (88, this is 77)" in decision.why
    assert decided({}, lost, last_seen=SETS).verdict == "go"


def test_whoever_a_run_that_died_has_stopped_is_to_run_again():
    """When this run is taken back as well, nobody else remembers."""
    died = decided({}, primary("n1"), standby("n2")).plan
    plan = decided({}, down("n1"), down("n2"), unfinished=died).plan
    assert (plan.running, plan.was_primary) == (("n1", "n2"), "n1")
    plan = decided({}, down("n1"), primary("n2"), unfinished=died).plan
    assert (plan.running, plan.was_primary) == (("n2",), "n2")
    assert decided({}, down("n1")).plan.running == ()


@pytest.mark.parametrize(
    ("policy", "place", "salvaged"),
    [({}, down(), at(9.5) + 40), ({}, gone(), 0), (time(5), down(), 0)],
)
def test_wal_is_salvaged_when_all_of_it_is_wanted(policy, place, salvaged):
    """From where the repository's ends; what lies behind a target that was chosen is not."""
    assert decided(policy, place).plan.salvage_from == salvaged


@pytest.mark.parametrize(
    ("policy", "seen", "says"),
    [
        ({}, {}, "Nothing that the primary was seen to have at 2026-11-29 11:59:55 UTC."),
        ({}, {"recorded": recorded(segment=9.75)}, "4194304 bytes of WAL"),
        ({}, {"recorded": None}, "It is not known how far the primary was"),
        (time(5), {}, "Everything that was committed after 2026-11-29 11:55:00.000000 UTC."),
    ],
)
def test_what_is_lost_is_said_before(policy, seen, says):
    """In bytes where it is known, and "not known" where it is not."""
    assert decided(policy, **seen).plan.loss.startswith(says)


def test_a_restore_whose_set_is_already_in_place_goes_on():
    """A run that died after the exchange has nothing left to choose; one that died before it chooses anew."""
    plan = decided({}).plan
    cut_off = {"unfinished": plan, "kept": listing()}
    assert decided({}, down(restored=plan.stamp), **cut_off).plan.stamp == plan.stamp
    assert decided({}, down(restored="another"), **cut_off).verdict == "refuse"


def test_a_drill_touches_nobody():
    """It stops nobody, salvages nothing, protects nothing, and has a lease of its own."""
    plan = decide_drill(
        view(primary("n1"), standby("n2"), kept=KEPT), DrillPolicy(what="latest"), gone("scratch", system_identifier="")
    ).plan
    assert (plan.node, plan.in_place, plan.others, plan.salvage_from) == ("scratch", False, (), 0)
    assert (plan.resource, plan.protect) == ("recovery.drill.orders", False)


def test_a_drill_reports_damage_behind_its_target():
    """The newest set is fine; the WAL after it is not, and the drill is there to say so."""
    seen = view(kept=KEPT, proofs=(proof(8.5, broken="invalid checksum"),))
    plan = decide_drill(seen, DrillPolicy(target="set", to="s3"), gone("scratch")).plan
    assert plan.wal_problem == "invalid checksum"
    assert decide_drill(seen, DrillPolicy(what="latest"), gone("scratch")).verdict == "refuse"
    assert ago(0) == seen.at


def test_a_plan_of_all_that_can_be_had_stays_the_same_while_more_is_written():
    """It is approved while the primary still writes; a plan that leads to one position is another at every other."""
    earlier, later = (decided({}, primary(), proofs=(proof(end),)).plan for end in (9.1, 9.5))
    assert earlier.aim != later.aim
    assert earlier.digest == later.digest
    one, other = (decided({"target": "lsn", "to": f"0/{to}000028"}, primary()).plan for to in (8, 9))
    assert one.digest != other.digest
    broken = decided({"accept_hole": True}, primary(), proofs=(proof(9.1, broken="a page"),)).plan
    assert broken.digest != earlier.digest
