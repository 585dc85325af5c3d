"""Which kind of set is kept, on top of what, and when none is."""

from __future__ import annotations

import pytest

from tasks.backups.decide_take import decide_take
from tasks.backups.policies import BackupPolicy
from tests.tasks.backups.worlds import GIGABYTE, MEGABYTES, a_set, at, down, listing, primary, standby, view

FULL = a_set("f1", 2, days=3)
OLD = a_set("f1", 2, days=9)
ON_TOP = a_set("i1", 4, days=2, parent="f1")
DAMAGED = {"bad": "a bit"}


@pytest.mark.parametrize(
    ("kept", "node", "policy", "made", "because"),
    [
        (listing(), {}, {}, ("full", ""), "no good set of timeline 1 to build on"),
        (listing(FULL), {}, {}, ("incremental", "f1"), "on top of f1"),
        (listing(FULL, ON_TOP), {}, {}, ("incremental", "i1"), "on top of i1"),
        (listing(FULL, ON_TOP.model_copy(update=DAMAGED)), {}, {}, ("incremental", "f1"), "on top of f1"),
        (listing(FULL.model_copy(update=DAMAGED), ON_TOP), {}, {}, ("full", ""), "no good set of timeline 1"),
        (listing(FULL.model_copy(update={"verified_at": None})), {}, {}, ("full", ""), "no good set"),
        (listing(OLD), {}, {}, ("full", ""), "older than 7 days"),
        (listing(OLD, ON_TOP), {}, {}, ("full", ""), "older than 7 days"),
        (listing(OLD), {}, {"full_every_days": 30.0}, ("incremental", "f1"), "on top of f1"),
        (listing(OLD), {}, {"kind": "incremental"}, ("incremental", "f1"), "on top of f1"),
        (listing(FULL), {}, {"kind": "full"}, ("full", ""), "a full one was asked for"),
        (listing(FULL), {"summaries": False}, {}, ("full", ""), "set summarize_wal = on"),
        (listing(FULL), {"timeline": 2}, {}, ("full", ""), "no good set of timeline 2"),
        (listing(FULL), {"major": 19}, {}, ("full", ""), "no good set of timeline 1"),
    ],
)
def test_the_smallest_set_that_is_safe_is_kept(kept, node, policy, made, because):
    """It builds on the newest set that is proven, of the same history and version, on a full one that is young."""
    decision = decide_take(view(primary(**node), kept=kept), BackupPolicy(**policy))
    assert (decision.plan.kind, decision.plan.parent) == made
    assert because in decision.why
    assert decision.plan.set_id == f"20261129T120000Z-{made[0]}"


@pytest.mark.parametrize(
    ("seen", "policy", "says"),
    [
        (view(kept=None, problem="no mount").model_copy(update={"listing": None}), {}, "could not be read: no mount"),
        (view(down(problem="connection refused")), {}, "no node takes writes; n1: connection refused"),
        (view(standby()), {}, "no node takes writes"),
        (view(primary("n1"), primary("n2")), {}, "more than one node takes writes (n1, n2)"),
        (view(kept=listing(FULL, system_identifier="88")), {}, "of another cluster (88, this is 77)"),
        (view(kept=listing(), last_seen=(FULL,)), {}, "is empty, and held 1 sets"),
        (view(kept=listing(FULL, writable=False)), {}, "cannot be written: mount it"),
        (view(kept=listing(free_bytes=GIGABYTE)), {}, "needs about 1126 MB and 1024 MB are free"),
        (view(kept=listing(FULL, free_bytes=GIGABYTE)), {"kind": "full"}, "1024 MB are free"),
        (view(kept=listing()), {"kind": "incremental"}, "An incremental set cannot be taken: there is no good set"),
        (view(primary(summaries=False)), {"kind": "incremental"}, "cannot be taken: n1 keeps no WAL summaries"),
    ],
)
def test_a_backup_that_would_harm_or_fail_is_refused(seen, policy, says):
    """Nothing was changed, and the sentence says what to correct."""
    decision = decide_take(seen, BackupPolicy(**policy))
    assert decision.verdict == "refuse"
    assert says in decision.why


def test_an_incremental_set_does_not_need_the_room_of_a_full_one():
    """A nightly backup goes on when the disk has room for what has changed; only a full one needs room for all."""
    assert decide_take(view(kept=listing(FULL, free_bytes=GIGABYTE)), BackupPolicy()).plan.kind == "incremental"
    tight = decide_take(view(kept=listing(FULL, free_bytes=10 * MEGABYTES)), BackupPolicy())
    assert "10 MB are free" in tight.why


OLDEST = (a_set("f1", 2, days=90), a_set("f2", 3, days=60), a_set("f3", 4, days=40), a_set("f4", 8, days=9))

USED = OLDEST[1].model_copy(update={"in_use": ("a run",)})


def full(free: int, sets=OLDEST, **more):
    kept = listing(*sets, free_bytes=free, **more)
    return decide_take(view(kept=kept), BackupPolicy(keep_fulls=1))


def test_in_a_full_repository_what_is_too_old_goes_first():
    """Expiry comes after the backup; where that has no room it would never come."""
    assert not full(2 * GIGABYTE).plan.room_first
    plan = full(GIGABYTE // 2).plan
    assert (plan.room_first, plan.expire) == (True, ("f2", "f1"))
    assert plan.loss.startswith("2 old sets are expired first, to make room for this one: f2, f1; f3 stays")


@pytest.mark.parametrize(
    ("sets", "more", "says"),
    [
        (OLDEST[1:], {}, "the sets that are too old (f2) hold 1024 MB, which is too little"),
        (OLDEST[2:], {}, "no set in it may be expired"),
        (OLDEST, {"frozen": "a disaster"}, "nothing may be expired now (a disaster)"),
        ((OLDEST[0], USED, *OLDEST[2:]), {}, "the sets that are too old (f1) hold 1024 MB"),
    ],
)
def test_a_repository_that_stays_full_is_refused_with_what_could_go(sets, more, says):
    """Nothing goes for a backup that fails all the same."""
    decision = full(10 * MEGABYTES, sets, **more)
    assert decision.verdict == "refuse"
    assert f"10 MB are free in the repository; {says}" in decision.why


def test_what_is_too_old_is_expired_with_the_plan():
    """The plan names what goes and why what is old stays."""
    kept = listing(a_set("f1", 2, days=90), a_set("f2", 3, days=60), a_set("f3", 4, days=40), a_set("f4", 8, days=1))
    plan = decide_take(view(kept=kept), BackupPolicy(keep_fulls=1)).plan
    assert plan.expire == ("f2", "f1")
    assert plan.keep_from == at(4) + 40
    assert plan.loss == (
        "2 old sets are expired afterwards: f2, f1; f3 stays: the oldest moment that is kept is restored from it."
    )


@pytest.mark.parametrize(
    ("more", "policy"), [({"frozen": "a disaster is being recovered"}, {}), ({}, {"expire": False})]
)
def test_nothing_is_expired_when_that_is_frozen_or_not_wanted(more, policy):
    """Neither sets nor WAL."""
    kept = listing(a_set("f1", 2, days=90), a_set("f2", 3, days=60), a_set("f3", 8, days=1), **more)
    plan = decide_take(view(kept=kept), BackupPolicy(keep_fulls=1, **policy)).plan
    assert (plan.expire, plan.keep_from) == ((), None)
    assert more.get("frozen", "") in plan.loss


def test_after_a_restore_the_stream_begins_anew():
    """WAL of the new history goes into a folder of its own: in the old one it would follow bytes of another."""
    assert decide_take(view(primary(timeline=2), kept=listing(FULL)), BackupPolicy()).plan.anew
    assert not decide_take(view(kept=listing(FULL)), BackupPolicy()).plan.anew
    assert not decide_take(view(primary(timeline=2), kept=listing()), BackupPolicy()).plan.anew
