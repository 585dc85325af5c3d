"""Whether a backup is one, and whether what came back is what was lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from blocks.backup_records import Fact
from tasks.backups.decide_drill import decide_drill
from tasks.backups.decide_restore import decide_restore
from tasks.backups.decide_take import decide_take
from tasks.backups.judge import (
    figures_of,
    judge_drill,
    judge_restored,
    sum_up,
    unlooked_restored,
)
from tasks.backups.judge_take import judge_take, unlooked_take
from tasks.backups.policies import BackupPolicy, DrillPolicy, RestorePolicy
from tasks.backups.state import Protected, Recovered
from tests.tasks.backups.worlds import NOW, SYSTEM, a_set, gone, listing, primary, recorded, standby, view, wal

MADE = a_set("s3", 8, days=1, restore_point="salvor-s3")
KEPT = listing(a_set("s1", 2, days=3), MADE)
PLAN = decide_restore(view(primary("n1"), standby("n2"), kept=KEPT), RestorePolicy()).plan
SET_PLAN = decide_restore(view(kept=KEPT), RestorePolicy(target="set", to="s3")).plan
DRILL = decide_drill(view(kept=KEPT), DrillPolicy(what="latest"), gone("scratch")).plan
OLD = a_set("old", 1, days=90)
TAKE = decide_take(
    view(kept=listing(OLD, a_set("s0", 1.5, days=60), a_set("s1", 2, days=9))), BackupPolicy(keep_fulls=1)
).plan
STOPPED = "it left timeline 1 at 0/9800028, after LSN 0/9800000"
FACTS = (("orders.public.orders", 11),)


def back(**given) -> Recovered:
    """See a server that came back as it should."""
    said = {
        "answers": True,
        "stopped": STOPPED,
        "primary": True,
        "timeline": 2,
        "system_identifier": SYSTEM,
        "facts": FACTS,
        "kept": MADE,
        "last_commit": NOW - timedelta(minutes=1),
        "writable_seconds": 8.0,
        "verified_seconds": 9.0,
    }
    return Recovered(**said | given)


def failing(evidence) -> list[str]:
    return [each.claim for each in evidence if not each.holds]


SAFE = Protected(kept=a_set("s4", 10, timeline=2), streaming=True, seconds=12.0)


def test_what_came_back_as_it_should_is_believed():
    """Everything that is claimed was seen."""
    evidence = judge_restored(PLAN, back(), SAFE)
    assert failing(evidence) == []
    assert len(evidence) == 6


@pytest.mark.parametrize(
    ("after", "claim"),
    [
        (back(answers=False, problem="connection refused"), "n1 takes writes."),
        (back(primary=False), "n1 takes writes."),
        (back(system_identifier="88"), "It is the same cluster."),
        (back(stopped="it left timeline 1 at 0/98, no recovery target specified"), "It recovered to the last record"),
        (back(stopped=""), "It recovered to the last record"),
        (back(timeline=1), "It recovered to the last record"),
        (back(facts=()), "No table that had rows"),
        (back(facts=(("orders.public.orders", 0),)), "No table that had rows"),
        (back(damaged=("index o_pkey lacks a row",)), "Every index has every row"),
        (back(routes=(("pooler", False),)), "pooler leads clients to n1."),
        (back(services=(("shop", "exit code 7"),)), "shop works."),
    ],
)
def test_what_is_not_as_it_should_be_is_said(after, claim):
    """Exactly that claim does not hold, and the report is not green."""
    (found,) = failing(judge_restored(PLAN, after, SAFE))
    assert found.startswith(claim)


@pytest.mark.parametrize(
    ("seen", "wrong"),
    [
        (9, "orders.public.orders: 9 instead of 12"),
        (10, ""),
        (11, ""),
        (12, ""),
        (13, "orders.public.orders: 13 instead of 12"),
    ],
)
def test_at_the_restore_point_of_a_set_every_number_is_compared(seen, wrong):
    """It was counted before the point and after it; what came back lies between."""
    found = [
        each
        for each in judge_restored(SET_PLAN, back(facts=(("orders.public.orders", seen),)))
        if "counted" in each.claim
    ]
    assert [each.seen for each in found if not each.holds] == ([wrong] if wrong else [])
    assert len(found) == 1


def test_a_table_that_is_not_there_is_no_table_of_no_rows():
    """A number that was kept and is not found differs, also when it was zero."""
    kept = MADE.model_copy(update={"facts": (Fact(name="orders.public.charges", before=0, after=0),)})
    assert failing(judge_restored(SET_PLAN, back(kept=kept)))


@pytest.mark.parametrize(
    ("kept", "seen"),
    [
        (Protected(problem="no room"), "no room"),
        (Protected(), "no good set of the new history"),
        (Protected(kept=MADE), "s3, but WAL does not stream"),
    ],
)
def test_without_a_backup_of_its_own_it_is_not_protected(kept, seen):
    """A set of the old history does not help the new one, nor does one without WAL."""
    (found,) = [each for each in judge_restored(PLAN, back(), kept) if not each.holds]
    assert (found.claim, found.seen) == ("It has a backup again.", seen)


@pytest.mark.parametrize(
    ("plan", "after", "left", "claim"),
    [
        (DRILL, back(archiving=True), "", "The copy archived nothing."),
        (DRILL, back(), "scratch/orders is still there", "Nothing is left of the drill."),
        (DRILL.model_copy(update={"wal_problem": "invalid checksum"}), back(), "", "The WAL since the set can be read"),
    ],
)
def test_a_drill_that_harms_or_finds_damage_does_not_pass(plan, after, left, claim):
    """It archives nothing, leaves nothing, and damage behind its target counts."""
    assert failing(judge_drill(DRILL, back(), left="")) == []
    (found,) = failing(judge_drill(plan, after, left=left))
    assert found.startswith(claim)


def kept_view(*, hole: bool = False, **made):
    name = TAKE.set_id
    whole = listing(a_set(name, 4, days=0, parent="s1", **made), files=wal(1, 9, without=(6,)) if hole else wal(1, 9))
    return view(kept=whole)


@pytest.mark.parametrize(
    ("after", "arrived", "claims"),
    [
        (kept_view(), True, []),
        (kept_view(bad="a bit"), True, [f"{TAKE.set_id} is whole."]),
        (kept_view(verified_at=None), True, [f"{TAKE.set_id} is whole."]),
        (kept_view(facts=()), True, ["A restore can be compared with it."]),
        (kept_view(), False, ["Its WAL is in the repository without a hole, and goes on."]),
        (kept_view(hole=True), True, ["Its WAL is in the repository without a hole, and goes on."]),
        (view(kept=listing()), True, [f"{TAKE.set_id} is whole.", "A restore can be compared with it."]),
        (view(kept=listing(OLD, *kept_view().listing.sets)), True, ["What is too old is gone."]),
    ],
)
def test_a_set_is_a_backup_when_it_is_whole_comparable_and_its_wal_goes_on(after, arrived, claims):
    """pg_basebackup's exit code is not asked."""
    assert TAKE.expire == ("old",)
    assert failing(judge_take(TAKE, after, arrived)) == claims


def test_an_old_set_that_a_run_restores_from_may_stay():
    """It goes the next time."""
    used = OLD.model_copy(update={"in_use": ("run-1",)})
    assert failing(judge_take(TAKE, view(kept=listing(used, *kept_view().listing.sets)), True)) == []


@pytest.mark.parametrize(
    ("last", "after", "lost"),
    [
        (recorded(), {}, 0.0),
        (recorded(segment=9.75), {}, 55.0),
        (recorded(segment=9.75), {"last_commit": None}, None),
        (recorded(segment=9.75), {"last_commit": NOW}, 0.0),
        (None, {}, None),
    ],
)
def test_what_was_lost_is_measured_or_not_claimed(last, after, lost):
    """Nothing, when all that the primary was seen to have came back; else the time to the application's last row."""
    plan = PLAN.model_copy(update={"recorded": last})
    assert figures_of(plan, back(**after)).get("rpo_seconds") == lost


def test_the_three_times_are_told_in_a_sentence():
    """Writable, verified, protected again: each from the beginning of the run."""
    figures = figures_of(PLAN, back(), SAFE)
    assert sum_up(PLAN, back(), figures).endswith(
        "It was writable after 8.0 s, verified after 9.0 s, protected again after 12.0 s; 0.0 s of commits lost."
    )
    assert sum_up(PLAN, back(answers=False), figures) == ""


def test_the_wait_for_an_approval_is_a_figure_of_its_own():
    """It is part of each time, and says nothing of the recovery itself."""
    after = back(waited_seconds=6.5)
    figures = figures_of(PLAN, after, SAFE)
    assert figures["waited_for_approval_seconds"] == 6.5
    assert "protected again after 12.0 s, of which it waited 6.5 s for an approval;" in sum_up(PLAN, after, figures)
    assert "waited_for_approval_seconds" not in figures_of(PLAN, back(), SAFE)


def test_what_was_not_looked_at_is_said():
    """A fall-back, an index that nobody compared, rows nobody had counted, standbys that do not follow."""
    after = back(fallen_back=("s9",), mute=("shop",), check_problem="amcheck is not installed")
    said = " ".join(unlooked_restored(PLAN, after))
    for part in (
        "s9 is damaged",
        "amcheck is not installed",
        "nobody had counted",
        "n2 do not follow",
        "stripe-replay",
        "Whether shop works",
    ):
        assert part in said
    assert "nobody had counted" not in " ".join(unlooked_restored(SET_PLAN, back()))


def test_a_backup_does_not_claim_more_than_it_proves():
    """That it can be restored, only a drill proves."""
    said = " ".join(unlooked_take(TAKE, kept_view(), checksums=False))
    for part in ("only backup-drill proves that", "no data checksums"):
        assert part in said
