"""Which history is meant, which WAL leads along it, and which sets a recovery can begin with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.backup_records import Archive
from tasks.backups.choose import Leg, NoHistory, along, chain_of, chains, lies_on, path_to, timeline_of
from tests.tasks.backups.worlds import SIZE, a_set, at, fork, listing, wal

ONE = (Leg(timeline=1, start=0, end=None),)
SETS = (a_set("s1", 2, days=3), a_set("s2", 5, days=2), a_set("s3", 8, days=1))


@pytest.mark.parametrize(
    ("kept", "recorded", "wanted", "chosen"),
    [
        (listing(a_set()), 1, 0, 1),
        (listing(a_set()), 0, 0, 1),
        (listing(a_set(timeline=3)), 0, 0, 3),
        (listing(files=wal(1, 3, timeline=4)), 0, 0, 4),
        (listing(a_set(), files=wal(1, 5) + wal(5, 9, 2), branches=(fork(2, 5.5),)), 0, 0, 2),
        (listing(a_set(), files=wal(1, 9) + wal(5, 9, 2), branches=(fork(2, 5.5),)), 1, 0, 1),
        (listing(a_set(), files=wal(1, 9) + wal(5, 9, 2), branches=(fork(2, 5.5),)), 2, 0, 2),
        (listing(a_set(), files=wal(1, 9) + wal(5, 9, 2), branches=(fork(2, 5.5),)), 1, 2, 2),
        (listing(a_set(), files=wal(1, 9), branches=(fork(2, 5.5),)), 0, 0, 1),
        (
            listing(
                a_set(), files=wal(1, 5) + wal(5, 7, 2) + wal(7, 9, 3), branches=(fork(2, 5.5), fork(3, 7.5, parent=2))
            ),
            0,
            0,
            3,
        ),
    ],
)
def test_the_history_that_is_meant_is_followed(kept, recorded, wanted, chosen):
    """What a person says goes before what was recorded, and that before the only history that goes on."""
    assert timeline_of(kept, recorded, wanted) == chosen


@pytest.mark.parametrize(
    ("kept", "wanted", "says"),
    [
        (listing(a_set(), files=wal(1, 9) + wal(5, 9, 2), branches=(fork(2, 5.5),)), 0, "timelines 1, 2"),
        (
            listing(a_set(), files=wal(1, 5) + wal(5, 9, 2) + wal(5, 9, 3), branches=(fork(2, 5.5), fork(3, 5.6))),
            0,
            "timelines 1, 2, 3",
        ),
        (listing(a_set()), 7, "nothing of timeline 7, only of 1"),
    ],
)
def test_a_history_that_forked_is_asked_for(kept, wanted, says):
    """Where two lines go on, a drill may have archived: nobody but a person knows which one is production's."""
    with pytest.raises(NoHistory, match=says):
        timeline_of(kept, 0, wanted)


def test_the_path_to_a_timeline_ends_each_stretch_where_the_next_one_left_it():
    """WAL that a parent wrote after the fork belongs to no path that leads through the child."""
    archive = Archive(branches=(fork(2, 5.5), fork(3, 7.5, parent=2)))
    assert path_to(archive, 3) == (
        Leg(timeline=1, start=0, end=at(5.5)),
        Leg(timeline=2, start=at(5.5), end=at(7.5)),
        Leg(timeline=3, start=at(7.5), end=None),
    )
    assert path_to(archive, 1) == ONE


def test_history_files_that_lead_in_a_circle_end():
    """A damaged history file gives a short path, and no endless one."""
    archive = Archive(branches=(fork(2, 5, parent=3), fork(3, 6, parent=2)))
    assert [leg.timeline for leg in path_to(archive, 3)] == [2, 3]


@pytest.mark.parametrize(
    ("made", "lies"),
    [
        (a_set(segment=5), True),
        (a_set(segment=6, timeline=2), True),
        (a_set(segment=6), False),
        (a_set(segment=5, end_lsn=at(5.5) + 1), False),
        (a_set(segment=5, timeline=2), False),
        (a_set(segment=6, timeline=3), False),
    ],
)
def test_a_set_lies_on_a_path_when_it_ended_before_the_fork(made, lies):
    """One that was taken of the parent after the fork, or of another history, leads elsewhere."""
    assert lies_on(made, path_to(Archive(branches=(fork(2, 5.5),)), 2)) is lies


def test_the_first_segment_of_a_timeline_may_be_that_of_its_parent():
    """At a fork both have the segment, and either of them makes the path whole."""
    path = path_to(Archive(branches=(fork(2, 5.5),)), 2)
    both = Archive(files=wal(1, 5) + wal(5, 9, 2), branches=(fork(2, 5.5),))
    parents = Archive(files=wal(1, 5) + wal(6, 9, 2), branches=(fork(2, 5.5),))
    neither = Archive(files=wal(1, 4) + wal(6, 9, 2) + wal(5, 9, 3), branches=(fork(2, 5.5),))
    assert along(both, path).holes == along(parents, path).holes == ()
    assert along(neither, path).holes == ((4, 6),)


@given(st.sets(st.integers(0, 30)), st.integers(0, 30))
def test_every_missing_segment_lies_in_a_hole(numbers, start):
    """What a recovery from a segment on needs and does not find, and nothing else, is the first hole it meets."""
    files = tuple(file for number in numbers for file in wal(number, number))
    found = along(Archive(files=files), ONE)
    missing = [number for number in range(start, max(numbers, default=-1)) if number not in numbers]
    hole = found.next_hole(start)
    assert (hole is None) == (missing == [])
    if hole:
        assert missing[0] in range(hole[0] + 1, hole[1])
        assert set(range(max(start, hole[0] + 1), hole[1])) <= set(missing)


@given(st.sets(st.integers(0, 30), min_size=1), st.data())
def test_wal_is_whole_from_where_it_is_said_to_be(numbers, data):
    """All segments from there to the one that is asked about are there, and the one before is not."""
    last = data.draw(st.sampled_from(sorted(numbers)))
    files = tuple(file for number in numbers for file in wal(number, number))
    first = along(Archive(files=files), ONE).whole_from(last)
    assert set(range(first, last + 1)) <= numbers
    assert first - 1 not in numbers


@pytest.mark.parametrize(
    ("sets", "chain"),
    [
        ((a_set("i"),), ("i",)),
        ((a_set("f"), a_set("i", parent="f")), ("f", "i")),
        ((a_set("f"), a_set("h", parent="f"), a_set("i", parent="h")), ("f", "h", "i")),
        ((a_set("i", parent="f"),), None),
        ((a_set("f", bad="damaged"), a_set("i", parent="f")), None),
        ((a_set("i", bad="damaged"),), None),
        ((a_set("h", parent="i"), a_set("i", parent="h")), None),
    ],
)
def test_a_set_is_used_with_all_it_is_built_from(sets, chain):
    """A chain with a missing or damaged link, or none at its beginning, is no chain."""
    by_id = {each.id: each for each in sets}
    assert chain_of(by_id["i"], by_id) == chain


def test_the_newest_proven_set_goes_first_and_an_unproven_one_last():
    """What nobody verified is still better than nothing."""
    kept = listing(SETS[0], SETS[1], SETS[2].model_copy(update={"verified_at": None}))
    assert chains(kept, ONE, None) == (("s2",), ("s1",), ("s3",))


def test_a_set_must_have_ended_before_its_target():
    """A position inside a set is no place where a recovery from it can stop."""
    kept = listing(*SETS)
    assert chains(kept, ONE, SETS[1].end_lsn) == (("s2",), ("s1",))
    assert chains(kept, ONE, SETS[1].end_lsn - 1) == (("s1",),)
    assert chains(kept, ONE, None, from_segment=SETS[1].start_lsn // SIZE) == (("s3",), ("s2",))


def test_a_bad_set_is_never_chosen():
    """Neither the set itself, nor what is built on it."""
    kept = listing(SETS[0], SETS[1].model_copy(update={"bad": "a bit"}), a_set("s3", 8, parent="s2"))
    assert chains(kept, ONE, None) == (("s1",),)
