"""When a primary is lost and when it is not: tables of what can be seen, and properties of every sequence of probes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.triggers.sentinel import detect
from flows.triggers.sentinel.detect import (
    Pace,
    Said,
    Sight,
    Track,
    Verdict,
    Watch,
    attempt,
    begin,
    judge,
    next_look,
    note,
)
from tasks.postgres.state import Receiver

PACE = Pace()
NODES = ("n1", "n2", "n3")
PING = 1.0  #: half of a wal_receiver_timeout of 2 s


def primary(timeline: int = 1) -> Said:
    return Said(in_recovery=False, system_identifier="7", timeline=timeline, lsn=100)


def standby(silence: float | None = 0.1, status: str = "streaming", ping: float = PING) -> Said:
    receiver = None
    if silence is not None:
        receiver = Receiver(status=status, silence_seconds=silence, ping_seconds=ping, upstream="n1:5432", slot="s")
    return Said(in_recovery=True, system_identifier="7", timeline=1, lsn=90, receiver=receiver)


def sight(node: str, at: float, said: Said | None = None, answer: str = "", took: float | None = None) -> Sight:
    kind: Any = answer or ("answered" if said else "refused")
    took = took if took is not None else (PACE.deadline_seconds if kind == "silent" else 0.01)
    problem = "" if kind == "answered" else kind
    return Sight(node=node, began=at - took, ended=at, answer=kind, problem=problem, said=said)


def watched(*sights: Sight, nodes: tuple[str, ...] = NODES, known: str = "n1") -> Watch:
    watch = begin(nodes, known, 1)
    for one in sights:
        watch = note(watch, one, PACE)
    return watch


def verdict(*sights: Sight, nodes: tuple[str, ...] = NODES, known: str = "n1") -> Verdict:
    return judge(watched(*sights, nodes=nodes, known=known), max(s.ended for s in sights), PACE)


def refusals(node: str = "n1", number: int = 3, start: float = 10.0, apart: float = 0.1) -> list[Sight]:
    return [sight(node, start + n * apart) for n in range(number)]


def silences(node: str = "n1", number: int = 3, start: float = 10.0, apart: float = 0.5) -> list[Sight]:
    return [sight(node, start + n * apart, answer="silent") for n in range(number)]


def deaf(at: float, *nodes: str) -> list[Sight]:
    return [sight(n, at, standby(None)) for n in nodes or ("n2", "n3")]


# --- tables


def test_a_dead_primary_is_lost_after_three_refusals() -> None:
    """Two tenths of a second after the first refusal, with everybody else agreeing."""
    good = sight("n1", 9.9, primary())
    found = verdict(good, *refusals(), *deaf(10.2))
    assert (found.kind, found.node, found.last_good, found.first_miss) == ("lost", "n1", 9.9, 10.0)
    assert found.why == (
        "n1 refused 3 probes over 0.20 s, last seen writable 0.30 s ago; n2, n3 answer and hear nothing from it."
    )


def test_a_frozen_primary_is_lost_after_three_silences() -> None:
    """A second and a half after the first unanswered question."""
    found = verdict(*silences(), *deaf(11.0))
    assert found.kind == "lost"
    assert found.why.startswith("n1 left unanswered 3 probes over 1.00 s; ")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([*refusals(number=2), *deaf(10.1)], "missed 2 of 3"),
        ([*silences(number=2), *deaf(10.5)], "missed 2 of 3"),
        ([*silences(apart=0.1), *deaf(10.3)], "missed 1 of 3"),
        ([*refusals(apart=0.01), *deaf(10.1)], "missed 1 of 3"),
        ([*refusals(), sight("n2", 10.2, standby(0.2)), *deaf(10.2, "n3")], "still talks to n2"),
        ([*refusals(), sight("n2", 10.2, standby(1.5)), *deaf(10.2, "n3")], "still talks to n2"),
        ([*refusals(), sight("n2", 10.2, standby(9.0, ping=30.0)), *deaf(10.2, "n3")], "still talks to n2"),
        ([*refusals(), *deaf(10.2, "n2")], "Only 1 of 3 nodes"),
        ([*refusals(), *deaf(10.2, "n2"), sight("n3", 10.2)], "Only 1 of 3 nodes"),
        ([*refusals(), *deaf(8.8)], "Only 0 of 3 nodes"),
        ([*refusals(), *deaf(10.2, "n3"), sight("n2", 10.2, standby(0, "hidden"))], "GRANT pg_monitor"),
        ([*refusals(), sight("n1", 10.3, answer="starting"), *deaf(10.3)], "is there, but takes no writes (starting)"),
        ([*refusals(), sight("n1", 10.3, answer="denied"), *deaf(10.3)], "is there, but takes no writes (denied)"),
        ([*refusals(), sight("n1", 10.3, standby(None)), *deaf(10.3)], "it is in recovery"),
        ([*deaf(10.0)], "has not been looked at"),
        ([*refusals(start=5.0), *deaf(10.0)], "has not been looked at"),
    ],
)
def test_what_is_no_loss(said: list[Sight], why: str) -> None:
    """Too few misses, a standby that hears it, a minority, a server that answers no: each is waited for, and said."""
    found = verdict(*said)
    assert found.kind == "waiting"
    assert why in found.why


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (standby(1.51), "lost"),
        (standby(0.1, status="waiting"), "lost"),
        (standby(0.1, status="stopping"), "lost"),
        (standby(None), "lost"),
        (standby(1.49), "waiting"),
        (standby(10.0, ping=15.0), "waiting"),
        (standby(15.6, ping=15.0), "lost"),
        (standby(1e6, ping=1e9), "waiting"),
    ],
)
def test_what_a_standby_hears(said: Said, kind: str) -> None:
    """A stream is alive for half of wal_receiver_timeout and half a second; with no time-out, as long as it is up."""
    assert verdict(*refusals(), sight("n2", 10.2, said), *deaf(10.2, "n3")).kind == kind


@pytest.mark.parametrize(
    ("nodes", "visible", "kind"),
    [
        (("n1",), (), "waiting"),
        (("n1", "n2"), ("n2",), "lost"),
        (("n1", "n2", "n3"), ("n2",), "waiting"),
        (("n1", "n2", "n3"), ("n2", "n3"), "lost"),
        (("n1", "n2", "n3", "n4"), ("n2",), "waiting"),
        (("n1", "n2", "n3", "n4"), ("n2", "n3"), "lost"),
        (("n1", "n2", "n3", "n4", "n5"), ("n2", "n3"), "waiting"),
        (("n1", "n2", "n3", "n4", "n5"), ("n2", "n3", "n4"), "lost"),
    ],
)
def test_the_sentinel_has_a_vote(nodes: tuple[str, ...], visible: tuple[str, ...], kind: str) -> None:
    """More than half of the nodes and the sentinel itself must be seen: a cluster of two can fail over, one cannot."""
    seen = deaf(10.2, *visible) if visible else []
    assert verdict(*refusals(), *seen, nodes=nodes).kind == kind


def test_a_failover_that_was_done_is_no_loss() -> None:
    """As soon as another node takes writes on a newer timeline it is the primary."""
    promoted = Said(in_recovery=False, system_identifier="7", timeline=2, lsn=100)
    watch = watched(sight("n1", 9.9, primary()), *refusals(), sight("n2", 10.2, promoted), *deaf(10.2, "n3"))
    assert judge(watch, 10.2, PACE).kind == "healthy"
    assert (watch.primary, watch.timeline, watch.system_identifier) == ("n2", 2, "7")


def test_one_answer_of_each_during_a_switchover_is_no_conflict() -> None:
    """The old primary's last answer may lie beside the new one's first."""
    old = [sight("n1", t, primary()) for t in (9.0, 9.5, 10.0)]
    assert verdict(*old, sight("n2", 10.3, primary(2))).kind == "healthy"


def test_two_primaries_are_a_conflict() -> None:
    """Three answers of each, and both are current."""
    both = [sight(n, 10 + t / 2, primary(timeline)) for t in range(4) for n, timeline in (("n1", 1), ("n2", 2))]
    found = verdict(*both)
    assert found.kind == "conflicted"
    assert "n1 (timeline 1) and n2 (timeline 2) take writes; the cluster has gone on to timeline 2" in found.why
    same = [sight(n, 10 + t / 2, primary()) for t in range(3) for n in ("n1", "n2")]
    assert verdict(*same).why == (
        "n1 (timeline 1) and n2 (timeline 1) take writes. Decide which is right and stop the other by hand."
    )


def test_an_old_primary_that_came_back_alone_is_a_conflict() -> None:
    """When the new primary died and the one it replaced takes writes, a person must look; it is not well, nor lost."""
    moved = [sight("n2", 10.0, primary(2)), *refusals("n2", start=10.1)]
    back = [sight("n1", 10.2, primary()), *deaf(10.3, "n3")]
    once = verdict(*moved, *back)
    assert (once.kind, once.node) == ("waiting", "n2")
    assert "n1 takes writes, though the cluster has gone on to timeline 2" in once.why
    again = [sight("n1", t, primary()) for t in (10.3, 10.4)]
    assert verdict(*moved, *back, *again).kind == "conflicted"


def test_a_primary_that_died_before_the_sentinel_was_born() -> None:
    """The ledger remembers who it was; without that, it is the only node that is no standby."""
    assert verdict(*refusals(), *deaf(10.2)).node == "n1"
    assert verdict(*refusals(), *deaf(10.2), known="").kind == "lost"
    assert verdict(*refusals(), *deaf(10.2), known="gone-from-the-block").node == "n1"
    nobody = verdict(*refusals(), *refusals("n2"), *deaf(10.2, "n3"), known="")
    assert nobody == Verdict(kind="waiting", why="Nobody takes writes, and which node did is not known.")


def test_a_sentinel_that_slept_draws_no_conclusion() -> None:
    """When its own process was stopped, all its deadlines pass at once; none of that is a miss."""
    slept = [sight("n1", 20.0 + n, answer="silent", took=5.0) for n in range(5)]
    assert watched(*slept).tracks["n1"] == Track()


def test_a_late_silence_does_not_overrule_a_newer_answer() -> None:
    """Probes overlap: the one that began first ends last, and knows less."""
    newer = sight("n1", 10.2, primary())
    watch = watched(newer, sight("n1", 10.5, answer="silent", took=0.5))
    assert watch.tracks["n1"].latest == newer


def test_a_node_that_is_not_in_the_block_is_passed_over() -> None:
    """The answer of a node that was just taken out changes nothing."""
    assert watched(sight("n9", 10.0, primary())) == begin(NODES, "n1", 1)


def test_the_pace_quickens_while_something_is_amiss() -> None:
    """Ten looks a second from the first miss on, for ten seconds; then it is a long outage."""
    assert next_look(watched(sight("n1", 10.0, primary())), 10.0, PACE) == PACE.interval_seconds
    alarmed = watched(*refusals(number=1))
    assert next_look(alarmed, 10.1, PACE) == PACE.alarmed_seconds
    assert next_look(alarmed, 10.0 + detect.ALARM_SECONDS, PACE) == PACE.interval_seconds
    assert next_look(begin(NODES), 10.0, PACE) == PACE.interval_seconds


@pytest.mark.parametrize(
    ("elapsed", "number"),
    [(-5, 0), (0, 0), (29.9, 0), (30, 1), (89.9, 1), (90, 2), (209.9, 2), (210, 3), (86_400, 11)],
)
def test_a_loss_that_lasts_is_told_again(elapsed: float, number: int) -> None:
    """After 30, 90, 210 … seconds: an event that was lost is not the end, and a day has a dozen, not thousands."""
    assert attempt(elapsed, PACE) == number


# --- properties

saids = st.one_of(
    st.none(),
    st.builds(primary, st.integers(1, 3)),
    st.builds(standby, st.one_of(st.none(), st.floats(0, 5)), st.sampled_from(["streaming", "waiting", "hidden"])),
)


@st.composite
def stories(draw: st.DrawFn) -> list[Sight]:
    """Any sequence of probes of three nodes, in the order in which they ended."""
    now, told = 100.0, []
    for _ in range(draw(st.integers(1, 40))):
        now += draw(st.floats(0, 0.6))
        said = draw(saids)
        answer = "answered" if said else draw(st.sampled_from(["refused", "silent", "starting", "denied"]))
        took = draw(st.floats(0, 1.0))
        told.append(sight(draw(st.sampled_from(NODES)), now, said, answer, took))
    return told


@settings(max_examples=300)
@given(stories(), st.floats(0, 3))
def test_a_loss_has_all_its_reasons(story: list[Sight], later: float) -> None:
    """Whatever was seen in whatever order, "lost" is never said without every one of its conditions."""
    watch = watched(*story)
    now = story[-1].ended + later
    found = judge(watch, now, PACE)
    if found.kind != "lost":
        return
    latest = {n: t.latest for n, t in watch.tracks.items() if t.latest and now - t.latest.ended <= PACE.fresh_seconds}
    others = [s for n, s in latest.items() if n != found.node]
    assert latest[found.node].answer in ("refused", "silent")
    assert watch.tracks[found.node].missed >= PACE.misses
    assert not any(s.writable for s in latest.values())
    assert not any(s.said and s.said.hears for s in others)
    assert sum(bool(s.said and s.said.in_recovery) for s in others) >= 2


@settings(max_examples=200)
@given(stories())
def test_a_living_primary_is_never_lost(story: list[Sight]) -> None:
    """One answer as primary on the newest timeline, and the next verdict is not "lost"."""
    watch = watched(*story)
    now = story[-1].ended
    alive = sight(watch.primary, now + 0.6, primary(max(3, watch.timeline)))
    assert judge(note(watch, alive, PACE), alive.ended, PACE).kind in ("healthy", "conflicted")


@given(st.floats(0.3, 5.0), st.floats(0, 1.4))
def test_a_partition_of_the_sentinel_alone_is_never_a_loss(seconds: float, silence: float) -> None:
    """However long only we do not reach the primary: while one standby hears it, nothing is lost."""
    story = [s for n in range(int(seconds / 0.1)) for s in refusals(number=1, start=10 + n * 0.1)]
    heard = sight("n2", story[-1].ended, standby(silence))
    assert verdict(*story, heard, *deaf(story[-1].ended, "n3")).kind == "waiting"


@given(st.integers(1, 10), st.floats(0, 0.4))
def test_silence_never_counts_faster_than_the_interval(number: int, apart: float) -> None:
    """However often it is asked, k silences are k intervals apart: a busy second is no death."""
    said = silences(number=number, apart=apart)
    missed = watched(*said).tracks["n1"].missed
    assert missed <= 1 + (said[-1].began - said[0].began) / (0.9 * PACE.interval_seconds) + 1e-9
