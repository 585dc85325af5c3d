"""A set whose files pgBackRest holds is built on, and restored, as far as its WAL is there."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.backups.decide_restore import decide_restore, surveyed
from tasks.backups.decide_take import decide_take
from tasks.backups.policies import BackupPolicy, RestorePolicy, TargetPolicy
from tests.tasks.backups.worlds import GIGABYTE, a_set, at, listing, primary, proof, view, wal

OURS = {"label": "20261126-000000F"}
FULL = a_set("f1", 2, days=3, **OURS)
ON_TOP = a_set("i1", 4, days=2, parent="f1", label="20261126-000000F_20261127-000000I")
NATIVE = a_set("n1", 5, days=1)
DAMAGED = {"bad": "a bit"}
#: A backup ends in the segment after the one in which it began.
LONG = a_set("f2", 5, days=1, label="20261128-000000F", end_lsn=at(6) + 288)


def seen(*sets: Any, **given: Any):
    """Look at a repository whose next set pgBackRest takes."""
    place = primary(summaries=False, **given.pop("place", {}))
    return view(place, kept=listing(*sets, **given), engine="pgbackrest")


@pytest.mark.parametrize(
    ("sets", "made", "because"),
    [
        ((), ("full", ""), "no good set of timeline 1"),
        ((FULL,), ("incremental", "f1"), "on top of f1"),
        ((FULL, ON_TOP), ("incremental", "i1"), "on top of i1"),
        ((FULL, NATIVE), ("incremental", "f1"), "on top of f1"),
        ((NATIVE,), ("full", ""), "no good set of timeline 1"),
        ((FULL, ON_TOP.model_copy(update=DAMAGED)), ("full", ""), "builds on its newest set only, and i1 is not good"),
        ((FULL.model_copy(update=DAMAGED), ON_TOP), ("full", ""), "no good set"),
    ],
)
def test_pgbackrest_builds_on_its_newest_set(sets, made, because):
    """Without WAL summaries, on none of pg_basebackup's, and on no damaged one; it can be told no older one."""
    decision = decide_take(seen(*sets), BackupPolicy())
    assert (decision.plan.kind, decision.plan.parent) == made
    assert because in decision.why


def test_pg_basebackup_builds_on_no_set_of_pgbackrest():
    """Whoever goes back to it begins with a full set."""
    plan = decide_take(view(kept=listing(FULL)), BackupPolicy()).plan
    assert (plan.kind, plan.parent) == ("full", "")


def test_what_pgbackrest_holds_needs_no_room_in_the_repository():
    """Only WAL and records come into it."""
    decision = decide_take(seen(free_bytes=GIGABYTE, place={"bytes": 50 * GIGABYTE}), BackupPolicy())
    assert decision.verdict == "go"


@pytest.mark.parametrize(
    ("without", "first"),
    [((), "f2"), ((5,), "f1"), ((6,), "f1"), ((3,), "f2"), ((8,), "f2")],
)
def test_a_set_is_chosen_only_with_the_wal_that_it_needs(without, first):
    """A hole between its begin and its end leaves nothing of it; one before or after it does."""
    files = wal(1, 9, without=without)
    older = a_set("f1", 2, days=3)
    made = surveyed(view(kept=listing(older, LONG, files=files)), TargetPolicy())
    assert made.first.id == first


def test_the_same_hole_is_none_for_a_set_of_pg_basebackup():
    """It has that WAL in itself."""
    kept = listing(LONG.model_copy(update={"label": ""}), files=wal(1, 9, without=(6,)))
    assert surveyed(view(kept=kept), TargetPolicy(target="set", to="f2")).first.id == "f2"
    kept = listing(LONG, files=wal(1, 9, without=(6,)))
    assert "some that it needs is missing" in surveyed(view(kept=kept), TargetPolicy(target="set", to="f2"))


@pytest.mark.parametrize(("end", "verdict"), [(5.5, "refuse"), (9.5, "go")])
def test_wal_that_is_damaged_within_a_set_is_said_before_anything_stops(end, verdict):
    """PostgreSQL would find out when it is too late to choose."""
    proofs = (proof(end, broken="a checksum is wrong" if end < 9 else ""),)
    policy = RestorePolicy(target="latest", accept_hole=True)
    decision = decide_restore(view(kept=listing(LONG), proofs=proofs), policy)
    assert decision.verdict == verdict
    assert ("holds no WAL itself" in decision.why) == (verdict == "refuse")
