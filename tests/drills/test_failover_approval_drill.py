"""Where no fence can be proven nobody is promoted before a person has agreed; where one can, nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flows.triggers.plane.plane import Plane
from tasks.model import Outcome
from tests.drills.conftest import Labs
from tests.drills.ward import Ward, speaking_to
from tests.drills.witness import Picture, acts, assert_untouched
from tests.lab import blocks
from tests.lab.app import App
from tests.lab.processes import wait_until

pytestmark = pytest.mark.drill


@pytest.fixture(scope="module")
def lost(plane: Plane, labs: Labs) -> Iterator[tuple[Ward, App]]:
    """An asynchronous cluster whose primary lost its power: it can be neither reached, nor stopped, nor proven dead."""
    lab = labs.untouched(sync=False)
    with speaking_to(plane), Ward(plane, lab) as ward, App(lab, patience_seconds=60) as app:
        app.await_writes(20)
        ward.record()
        lab.kill_node("n1", host=False)
        receivers = "SELECT 1 FROM pg_stat_wal_receiver"
        wait_until(lambda: not lab.psql("n2", receivers) + lab.psql("n3", receivers), 10, "the standbys to notice")
        yield ward, app


def test_rejected_plan_changes_nothing(lost: tuple[Ward, App]) -> None:
    """A run without a provable fence says so and waits; the requester's own yes is asked again, and a no ends it."""
    ward, _ = lost
    before = Picture.of(ward.lab)
    run_id = ward.start("postgres-failover", {"approval_seconds": 120})
    ward.answer(run_id, "approve", " DRILL ", "I asked for it, and I say yes")
    ward.answer(run_id, "reject", "Grace", "the host comes back in a minute")
    run = ward.ended(run_id)
    assert run.outcome == Outcome.REFUSED
    assert run.why == "Grace rejected the plan: the host comes back in a minute."
    assert "no fence can be proven for n1" in run.report["plan"]["ask"]
    assert acts(run) == []
    assert_untouched(before, ward.lab)


def test_unanswered_plan_changes_nothing(lost: tuple[Ward, App]) -> None:
    """When nobody answers in time, nothing is done and on-call is told to look."""
    ward, _ = lost
    before = Picture.of(ward.lab)
    run = ward.run("postgres-failover", {"approval_seconds": 5})
    assert run.outcome == Outcome.REFUSED
    assert "Nobody approved the plan" in run.why
    assert "again when somebody can look at it" in run.why
    assert acts(run) == []
    assert_untouched(before, ward.lab)


def test_approved_plan_is_done(lost: tuple[Ward, App]) -> None:
    """When somebody else approves, the standby takes over, and clients that hung on the dead host go on."""
    ward, app = lost
    run_id = ward.start("postgres-failover", {"approval_seconds": 120})
    ward.answer(run_id, "approve", "Grace", "the host burns")
    run = ward.ended(run_id)
    app.await_writes(20)
    assert run.outcome == Outcome.RECOVERED, run.why
    assert run.report["timeline"][0]["found"] == "nothing to fence, as a person approved"
    assert ward.lab.primaries() in (["n2"], ["n3"])
    assert "| approved by | Grace: the host burns |" in run.markdown
    assert app.summary().duplicated == 0


@pytest.mark.parametrize("fence", ["route", pytest.param("power", marks=pytest.mark.long)])
def test_provable_fence_needs_nobody(async_ward: Ward, fence: str) -> None:
    """A primary that lives on where nobody reaches it is replaced without asking once its route or its power is cut."""
    lab = async_ward.lab
    if fence == "route":
        async_ward.change_block(poolers_are_the_only_way_in=True)
    else:
        async_ward.change_block(nodes=blocks.cluster(lab, power=True).nodes)
    with App(lab, patience_seconds=60) as app, async_ward.sentinel():
        app.await_writes(20)
        lab.cut("n1", "all")
        run = async_ward.await_outcome(Outcome.RECOVERED)
        app.await_writes(20)
    assert run.report["plan"]["fences"] == [["n1", fence]]
    assert bool(lab.nodes["n1"].processes()) == (fence == "route"), "only power ends what runs there"
    assert app.summary().duplicated == 0
