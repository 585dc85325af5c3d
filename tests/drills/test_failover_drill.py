"""The primary dies, freezes or is cut off: who takes over, and what the shop loses."""

from __future__ import annotations

import pytest

from tasks.model import Outcome
from tests.drills.ward import Ward
from tests.drills.witness import Picture, acts, assert_rows_kept, assert_untouched
from tests.lab.app import App
from tests.lab.processes import wait_until

pytestmark = pytest.mark.drill


@pytest.mark.parametrize("kill", ["kill_postmaster", "kill_node"])
def test_killed_primary_is_replaced(ward: Ward, kill: str) -> None:
    """A primary whose postmaster, or whose every process, was SIGKILLed is replaced, and no promised row is lost."""
    lab = ward.lab
    with App(lab) as app:
        app.await_writes(50)
        getattr(lab, kill)("n1")
        run = ward.run("postgres-failover")
        app.await_writes(50)
    assert run.outcome == Outcome.RECOVERED, run.why
    assert acts(run) == ["fence", "stop-receiving", "promote", "route-writes", "follow"]
    assert (lab.primaries(), lab.streaming("n2")) in ((["n2"], ["n3"]), (["n3"], ["n2"]))
    assert_rows_kept(app)
    assert (lab.nodes["n1"].data / "standby.signal").exists(), "an init system would bring it back as a primary"


def test_frozen_primary_acknowledges_nothing_after_thaw(ward: Ward) -> None:
    """A frozen primary is replaced; thawed, the zombie acknowledges nothing, is named, and comes back as a standby."""
    lab = ward.lab
    with App(lab) as app, App(lab, pinned="n1", writers=2, patience_seconds=60) as uninformed, ward.sentinel():
        app.await_writes(50)
        uninformed.await_writes(20)
        lab.freeze("n1")
        ward.await_outcome(Outcome.RECOVERED)
        app.await_writes(50)
        promised = len(uninformed.journal().acks)
        lab.thaw("n1")
        wait_until(lambda: waiting_commits(ward, "n1") >= 2, 10, "the zombie's commits to wait in vain")
        zombie = ward.run("postgres-failover")
        back = ward.run("postgres-rejoin", {"node": "n1"})
        app.await_writes(50)
        in_flight = len(uninformed.journal().acks) - promised
    assert zombie.outcome == Outcome.REFUSED
    assert "n1 (timeline 1) and" in zombie.why
    assert "both take writes" in zombie.why
    assert back.outcome == Outcome.RECOVERED, back.why
    assert in_flight <= 2, "only what a standby had confirmed before may be acknowledged late"
    assert_rows_kept(app, uninformed)


def waiting_commits(ward: Ward, node: str) -> int:
    return int(ward.lab.psql(node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")[0][0])


def test_primary_cut_off_from_us_alone_stays(ward: Ward) -> None:
    """When only Salvor cannot reach the primary, the sentinel tells nothing, and a run that is asked for is refused."""
    lab = ward.lab
    before = Picture.of(lab)
    with App(lab) as app, ward.sentinel():
        app.await_writes(20)
        lab.cut("n1", "salvor")
        app.await_writes(600)  # some three seconds: the clients are served all the while
        assert ward.of_target() == []
        run = ward.run("postgres-failover")
        lab.mend("n1")
    assert run.outcome == Outcome.REFUSED
    assert "still receives from n1" in run.why
    assert "mend the network" in run.why
    assert app.summary().errors == 0
    assert_rows_kept(app)
    assert_untouched(before, lab, "position")


@pytest.mark.long
def test_primary_cut_off_from_everybody_is_replaced(ward: Ward) -> None:
    """A living primary that nobody reaches cannot confirm a commit, so its standby takes over and nothing is lost."""
    lab = ward.lab
    with App(lab) as app, App(lab, pinned="n1", writers=2) as uninformed, ward.sentinel():
        app.await_writes(50)
        lab.cut("n1", "all")
        run = ward.await_outcome(Outcome.RECOVERED)
        app.await_writes(50)
        lab.mend("n1")
        wait_until(lambda: waiting_commits(ward, "n1") > 0, 10, "the zombie's commits to wait in vain")
        back = ward.run("postgres-rejoin", {"node": "n1"})
        assert back.outcome == Outcome.RECOVERED, back.why
    assert ["n1", "sync"] in run.report["plan"]["fences"]
    assert ["n1", "process"] not in run.report["plan"]["fences"]
    assert_rows_kept(app, uninformed)


def test_primary_cut_off_from_its_standbys_alone_stays(ward: Ward) -> None:
    """A primary that lost only its standbys is there for us and for clients: commits wait, and nobody is promoted."""
    lab = ward.lab
    before = Picture.of(lab)
    with App(lab, patience_seconds=60) as app, ward.sentinel():
        app.await_writes(50)
        lab.cut("n1", "standbys")
        wait_until(lambda: waiting_commits(ward, "n1") == 4, 10, "the commits to wait")
        run = ward.run("postgres-failover")
        assert [each.id for each in ward.of_target()] == [run.id]
        lab.mend("n1")
        app.await_writes(50)
    assert run.outcome == Outcome.NOTHING_TO_DO
    assert "n1 takes writes" in run.why
    assert app.summary().errors == 0
    assert_rows_kept(app)
    wait_until(lambda: lab.streaming("n1") == ["n2", "n3"], 10, "the standbys to stream again")
    assert_untouched(before, lab, "position")
