"""Nothing is expired that anybody still needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.backups.choose import chain_of
from tasks.backups.retention import plan_retention
from tests.tasks.backups.worlds import DAY, NOW, a_set, at

UNPROVEN = {"verified_at": None}
DAMAGED = {"bad": "a bit"}
USED = {"in_use": ("run-1",)}


def sets(*described):
    """Keep sets of (name, days ago, parent, more); each begins where its age says."""
    return tuple(a_set(name, 400 - days, days=days, parent=parent, **more) for name, days, parent, more in described)


@pytest.mark.parametrize(
    ("kept", "expired"),
    [
        ((("f1", 50, "", {}), ("f2", 40, "", {}), ("f3", 5, "", {})), ["f1"]),
        ((("f1", 50, "", {}), ("f2", 40, "", {}), ("f3", 35, "", {})), ["f2", "f1"]),
        ((("f1", 50, "", {}), ("f2", 40, "", {})), ["f1"]),
        ((("f1", 50, "", {}), ("i1", 49, "f1", {}), ("i2", 29, "i1", {})), []),
        ((("f1", 60, "", {}), ("i1", 59, "f1", {}), ("f2", 40, "", {}), ("f3", 5, "", {})), ["i1", "f1"]),
        ((("f1", 60, "", {}), ("f2", 40, "", DAMAGED), ("f3", 5, "", {})), ["f2"]),
        ((("f1", 60, "", {}), ("f2", 40, "", UNPROVEN), ("f3", 5, "", {})), ["f2"]),
        ((("f1", 60, "", USED), ("f2", 40, "", {}), ("f3", 5, "", {})), []),
        ((("f1", 60, "", {}), ("i1", 50, "f1", USED), ("f2", 40, "", {}), ("f3", 5, "", {})), []),
        ((("f1", 60, "", UNPROVEN), ("f2", 50, "", DAMAGED)), []),
        ((), []),
    ],
)
def test_what_is_old_and_needed_by_nobody_goes(kept, expired):
    """What builds on others goes first, so that no set is ever there without what it is built from."""
    assert list(plan_retention(sets(*kept), NOW, 30, 1).expire) == expired


def test_what_is_old_and_stays_has_a_reason():
    """The report says why a set of last year is still there."""
    kept = sets(("f1", 90, "", {}), ("i1", 60, "f1", USED), ("f2", 40, "", {}), ("f3", 5, "", {}))
    assert dict(plan_retention(kept, NOW, 30, 1).kept) == {
        "f1": "i1 is built on it",
        "i1": "a run restores from it",
        "f2": "the oldest moment that is kept is restored from it",
    }


def test_wal_goes_that_is_older_than_every_set_that_stays():
    """WAL before the beginning of the oldest set leads nowhere."""
    kept = sets(("f1", 50, "", {}), ("f2", 40, "", {}), ("f3", 5, "", {}))
    assert plan_retention(kept, NOW, 30, 1).keep_from == at(360) + 40
    assert plan_retention(sets(("f1", 50, "", UNPROVEN)), NOW, 30, 1).keep_from is None


def test_the_oldest_moment_is_kept_with_a_set_that_can_be_restored():
    """An incremental set whose parent is damaged is proven by itself, and no way back: the set before it is."""
    kept = sets(("f1", 60, "", {}), ("f2", 50, "", DAMAGED), ("i2", 40, "f2", {}), ("f3", 5, "", {}))
    assert "f1" not in plan_retention(kept, NOW, 30, 1).expire


@st.composite
def histories(draw: st.DrawFn):
    """Draw the sets of a year: full or built on an earlier one, some damaged, unproven, or in use."""
    ages = sorted(draw(st.sets(st.integers(0, 365), max_size=12)), reverse=True)
    made = []
    for number, days in enumerate(ages):
        parent = draw(st.sampled_from(["", "", *(each.id for each in made)]))
        more = draw(st.sampled_from([{}, {}, {}, DAMAGED, UNPROVEN, USED]))
        made.append(a_set(f"s{number:02}", 400 - days, days=days, parent=parent, **more))
    return tuple(made)


@given(histories(), st.integers(1, 60), st.integers(1, 4))
def test_nothing_that_is_needed_goes(kept, days, fulls):
    """Not a parent of what stays, not a set in use, not the last good ones; and children go before their parents."""
    plan = plan_retention(kept, NOW, days, fulls)
    by_id = {each.id: each for each in kept}
    stay = [each for each in kept if each.id not in plan.expire]
    assert not [each for each in stay if each.parent in plan.expire]
    assert not [name for name in plan.expire if by_id[name].in_use]
    assert not [name for name in plan.expire if by_id[name].ended_at >= NOW - days * DAY]
    good = [each.id for each in kept if _restorable(each, by_id)]
    assert not set(good[-1:]) & set(plan.expire)
    assert not set([each.id for each in kept if each.good and each.kind == "full"][-fulls:]) & set(plan.expire)
    order = [by_id[name] for name in plan.expire]
    assert not [each for place, each in enumerate(order) for later in order[place:] if later.parent == each.id]
    if stay and plan.keep_from is not None:
        assert plan.keep_from <= min(each.start_lsn for each in stay)


@given(histories(), st.integers(1, 60), st.integers(1, 4), st.floats(0, 1))
def test_what_could_be_restored_within_the_window_still_can(kept, days, fulls, share):
    """For every moment of the last KEEP_DAYS: when a set led to it before, one does afterwards."""
    moment = NOW - share * days * DAY
    plan = plan_retention(kept, NOW, days, fulls)
    assert _leads(kept, moment) == _leads(tuple(each for each in kept if each.id not in plan.expire), moment)


def _leads(kept, moment) -> bool:
    by_id = {each.id: each for each in kept}
    return any(_restorable(each, by_id) for each in kept if each.ended_at <= moment)


def _restorable(made, by_id) -> bool:
    chain = chain_of(made, by_id) or ()
    return bool(chain) and all(by_id[name].good for name in chain)
