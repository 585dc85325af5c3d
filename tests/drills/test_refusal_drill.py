"""A cluster that is not what it should be, and a dry run: everything is said, and nothing is touched."""

from __future__ import annotations

import psycopg
import pytest

from tasks.model import Outcome
from tests.drills.ward import Ward
from tests.drills.witness import Picture, acts, assert_untouched
from tests.lab import blocks
from tests.lab.app import App
from tests.lab.cluster import Lab
from tests.lab.processes import wait_until

pytestmark = pytest.mark.drill
PROCEDURES = ("postgres-failover", "postgres-switchover", "postgres-rejoin")


def refused(ward: Ward, procedure: str, says: str) -> None:
    """PROCEDURE is refused with a sentence that holds SAYS, and nothing changes."""
    before = Picture.of(ward.lab)
    run = ward.run(procedure)
    assert (run.outcome, acts(run)) == (Outcome.REFUSED, []), run.why
    assert says in run.why
    assert_untouched(before, ward.lab, "position")


def test_strangers_are_not_one_cluster(ward: Ward) -> None:
    """Nodes with different system identifiers are not one cluster, whatever the block says."""
    with Lab(nodes=1, fast=True, pooler=False) as other:
        stranger = blocks.cluster(other).nodes[0].model_copy(update={"name": "n4"})
        ward.change_block(nodes=[*blocks.cluster(ward.lab).nodes, stranger])
        before = Picture.of(other)
        for procedure in PROCEDURES:
            refused(ward, procedure, "different system identifiers")
        assert_untouched(before, other)


def test_another_manager_is_left_alone(ward: Ward) -> None:
    """A cluster whose sessions show that repmgr manages it is not touched behind its back."""
    with psycopg.connect(ward.lab.nodes["n2"].conninfo(application_name="repmgrd")):
        for procedure in PROCEDURES:
            refused(ward, procedure, "repmgr manages this cluster")


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_dry_run_changes_nothing(ward: Ward, procedure: str) -> None:
    """A dry run says what it would do; settings, files, slots, routes, logs and positions show that it did nothing."""
    lab = ward.lab
    victim = {"postgres-failover": "n1", "postgres-rejoin": "n3"}.get(procedure)
    if victim:
        lab.kill_node(victim)
        wait_until(lambda: victim not in lab.streaming("n1") if victim == "n3" else True, 10, "n3 to be missed")
    before = Picture.of(lab)
    run = ward.run(procedure, {"dry_run": True})
    # A living primary writes by itself: snapshots for its standbys, a checkpoint.
    assert_untouched(before, lab, *([] if victim == "n1" else ["position"]))
    assert run.outcome == Outcome.NOTHING_TO_DO
    assert run.why.startswith("dry run: would do this: ")
    assert {
        "postgres-failover": "Promote n2",
        "postgres-switchover": "Hold clients at the poolers.",
        "postgres-rejoin": "Start n3 behind n1",
    }[procedure] in run.why
    assert all(step["dry"] for step in run.report["timeline"])
    if victim:
        lab.nodes[victim].start()
        wait_until(lambda: lab.streaming("n1") == ["n2", "n3"], 10, "the lab to be whole")


def test_dry_run_does_not_disturb_the_shop(ward: Ward) -> None:
    """A dry run of a switchover while the shop writes costs no client an error."""
    with App(ward.lab) as app:
        app.await_writes(20)
        run = ward.run("postgres-switchover", {"dry_run": True})
        app.await_writes(20)
    assert run.outcome == Outcome.NOTHING_TO_DO
    assert app.summary().errors == 0
