"""What leads to a target: histories, sets and WAL; and the sentence when nothing does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from blocks.backup_records import Listing, shown
from tasks.backups.policies import TargetPolicy
from tasks.backups.survey import Survey, moment_of, survey
from tests.tasks.backups.worlds import NOW, SIZE, a_set, ago, at, fork, listing, wal

THREE = (a_set("s1", 2, days=3), a_set("s2", 5, days=2), a_set("s3", 8, days=1, restore_point="point-3"))
LATEST = TargetPolicy()


def to(target: str, where: str, **more) -> TargetPolicy:
    return TargetPolicy(target=target, to=where, **more)


def moment(days: float) -> TargetPolicy:
    return to("time", ago(days).isoformat())


def bases(found: Survey | str) -> list[str]:
    assert isinstance(found, Survey), found
    return [chain[-1] for chain in found.chains]


@pytest.mark.parametrize(
    ("policy", "begins"),
    [
        (LATEST, ["s3", "s2", "s1"]),
        (moment(0.5), ["s3", "s2", "s1"]),
        (moment(1.5), ["s2", "s1"]),
        (moment(3), ["s1"]),
        (to("lsn", shown(at(9))), ["s3", "s2", "s1"]),
        (to("lsn", shown(at(6))), ["s2", "s1"]),
        (to("set", "s2"), ["s2"]),
    ],
)
def test_a_recovery_begins_with_the_newest_set_before_its_target(policy, begins):
    """The newest replays least; every older one is there to fall back to."""
    assert bases(survey(listing(*THREE), policy, 1)) == begins


def test_a_recovery_to_a_restore_point_begins_before_it():
    """A set that was taken after it has passed it already; one that it was set with has not."""
    named = to("name", "before-the-migration")
    assert bases(survey(listing(*THREE), named, 1, point=at(9))) == ["s3", "s2", "s1"]
    assert bases(survey(listing(*THREE), named, 1, point=THREE[2].end_lsn)) == ["s3", "s2", "s1"]
    assert bases(survey(listing(*THREE), named, 1, point=at(6))) == ["s2", "s1"]
    assert "ends before the restore point before-the-migration" in survey(listing(*THREE), named, 1, point=at(1))


@pytest.mark.parametrize(
    ("kept", "policy", "says"),
    [
        (listing(), LATEST, "holds no set: run backup-take"),
        (listing(*THREE), to("latest", "1/0"), "leave `to` empty"),
        (listing(*THREE), to("time", ""), "Say in `to` which time"),
        (listing(*THREE), to("time", "yesterday"), "no time with its zone"),
        (listing(*THREE), to("time", "2026-11-29 14:05:00"), "no time with its zone"),
        (listing(*THREE), to("lsn", "5A000028"), "no position in the WAL"),
        (listing(*THREE), moment(4), "the oldest set, s1, ended at 2026-11-26 12:00:00 UTC"),
        (listing(*THREE), to("lsn", shown(at(1))), "the oldest set, s1, ended"),
        (listing(*THREE), to("name", "x"), "no restore point `x` in the WAL of the repository, from its oldest set"),
        (listing(*THREE), to("set", "s9"), "holds no set s9; its newest is s3"),
        (listing(THREE[0].model_copy(update={"bad": "a bit"})), to("set", "s1"), "cannot be used: a bit"),
        (listing(THREE[0].model_copy(update={"bad": "a bit"})), LATEST, "No set of timeline 1 is good"),
        (listing(a_set("i", parent="f")), to("set", "i"), "is missing or bad"),
        (listing(*THREE), LATEST.model_copy(update={"timeline": 4}), "nothing of timeline 4"),
    ],
)
def test_what_cannot_be_reached_is_said_in_a_sentence(kept, policy, says):
    """Whoever reads it knows what to correct, or which moment is the oldest that can be had."""
    assert says in survey(kept, policy, 1)


FORKED = listing(*THREE, files=wal(1, 9) + wal(8, 9, 2), branches=(fork(2, 8.5),))


def test_a_copy_that_archived_is_not_followed():
    """Its timeline is the newest there is; a recovery follows the one that the primary was seen on, or asks."""
    assert survey(FORKED, LATEST, 1).timeline == 1
    assert "Say in `timeline` which one is production's" in survey(FORKED, LATEST, 0)
    assert survey(FORKED, LATEST.model_copy(update={"timeline": 1}), 0).timeline == 1
    assert survey(FORKED, LATEST.model_copy(update={"timeline": 2}), 1).timeline == 2


def test_a_set_is_restored_on_its_own_history():
    """Whoever names a set has named its timeline."""
    kept = listing(*THREE, a_set("s4", 9, timeline=2, days=0.5), files=FORKED.archive.files, branches=(fork(2, 8.5),))
    assert survey(kept, to("set", "s4"), 1).timeline == 2
    assert survey(kept, to("set", "s2"), 2).timeline == 1


def test_sets_before_a_hole_are_kept_for_when_there_is_no_other():
    """To the end of the WAL leads only what comes after the last hole; without that the hole is what is met first."""
    after = survey(listing(*THREE, files=wal(1, 9, without=(6,))), LATEST, 1)
    assert (bases(after), after.hole) == (["s3"], None)
    before = survey(listing(*THREE[:2], files=wal(1, 9, without=(6,))), LATEST, 1)
    assert (bases(before), before.hole) == (["s2", "s1"], (5, 7))


def test_an_older_set_is_no_way_round_a_hole_before_the_newer_one():
    """When the set that is begun with turns out damaged, the next one must reach the target as well."""
    kept = listing(*THREE, files=wal(1, 9, without=(4,)))
    for policy in (moment(0.5), to("name", "a point"), to("lsn", shown(at(9))), LATEST):
        assert bases(survey(kept, policy, 1, point=at(9))) == ["s3", "s2"]


def test_the_moment_is_read_with_its_zone():
    """14:00 in one place is 13:00 in another."""
    assert moment_of(to("time", "2026-11-29T13:00:00+01:00")) == NOW
    assert moment_of(to("time", "never")) is moment_of(LATEST) is None


@st.composite
def repositories(draw: st.DrawFn) -> Listing:
    """Draw sets on one timeline, one each day, in an archive with holes; some are bad or unproven, some build on."""
    last = draw(st.integers(5, 20))
    begins = sorted(draw(st.sets(st.integers(1, last), min_size=1, max_size=6)))
    sets = []
    for number, segment in enumerate(begins):
        parent = draw(st.sampled_from(["", *(each.id for each in sets)]))
        bad = draw(st.sampled_from(["", "", "a bit"]))
        more = {} if draw(st.booleans()) else {"verified_at": None}
        sets.append(a_set(f"s{number}", segment, days=last - segment + 0.5, parent=parent, bad=bad, **more))
    holes = draw(st.sets(st.integers(1, last - 1), max_size=4))
    return listing(*sets, files=wal(1, last, without=tuple(holes)))


@given(repositories(), st.floats(0, 20), st.sampled_from(["time", "lsn", "latest"]))
def test_every_set_that_is_chosen_leads_to_the_target(kept, days, target):
    """It ended before the target, nothing of it is bad, and all the WAL between is there, or the hole is known."""
    last = kept.archive.files[-1].number
    segment = last - days
    assume(segment > 0)
    policy = {"time": moment(days), "lsn": to("lsn", shown(at(segment))), "latest": LATEST}[target]
    found = survey(kept, policy, 1)
    if isinstance(found, str):
        return
    goal = last if target == "latest" else int(segment)
    numbers = {file.number for file in kept.archive.files}
    by_id = {each.id: each for each in kept.sets}
    for chain in found.chains:
        made = by_id[chain[-1]]
        assert not [name for name in chain if by_id[name].bad]
        assert by_id[chain[0]].kind == "full"
        if target != "latest":
            assert made.end_lsn <= at(segment) or made.ended_at <= ago(days)
        begin = made.start_lsn // SIZE
        missing = set(range(begin, goal + 1)) - numbers
        known = found.hole is not None and found.hole[1] > begin and found.hole[0] < goal
        assert not missing or known
    assert found.first.id == found.chains[0][-1]


@given(repositories(), st.floats(0, 20))
def test_what_can_be_restored_is_found(kept, days):
    """When any set leads to a moment over whole WAL, one is chosen, and it is not behind a hole."""
    by_id = {each.id: each for each in kept.sets}
    numbers = {file.number for file in kept.archive.files}
    last = kept.archive.files[-1].number
    goal = int(last - days)
    fit = [
        each
        for each in kept.sets
        if each.ended_at <= ago(days)
        and not each.bad
        and _whole(each.id, by_id)
        and set(range(each.start_lsn // SIZE, goal + 1)) <= numbers
    ]
    found = survey(kept, moment(days), 1)
    if fit:
        assert set(bases(found)) >= {each.id for each in fit}
        assert found.hole is None or found.hole[0] >= goal


def _whole(name: str, by_id) -> bool:
    while name:
        if by_id[name].bad:
            return False
        name = by_id[name].parent
    return True


def test_a_set_that_ended_with_the_moment_is_before_it():
    """The moment at which a set ended can be restored from it."""
    assert bases(survey(listing(*THREE), to("time", (ago(2) + timedelta(0)).isoformat()), 1)) == ["s2", "s1"]
