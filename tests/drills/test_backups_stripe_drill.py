"""After a disaster Stripe is asked what happened in the time that was lost, and what customers paid for is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blocks.backup_repository import BackupRepository
from blocks.native_backup import NativeRepository
from tasks.model import Outcome
from tests.drills.ward import Ward
from tests.flows.stripe_scene import Scene, deliver, scene_on
from tests.lab.node import PASSWORD

pytestmark = [pytest.mark.drill, pytest.mark.long]
CREATED = "customer.subscription.created"
BROUGHT = "{} of shop has brought in what Stripe knows."


@pytest.fixture
def scene(async_ward: Ward) -> Iterator[Scene]:
    """Give a shop whose database lives on the cluster, and that is paid through a Stripe of paper."""
    node = async_ward.lab.nodes["n1"]
    with scene_on(f"postgresql://postgres:{PASSWORD}@{node.host}:{node.port}/") as it:
        async_ward.change_block(databases=["shop-db"])
        yield it
        async_ward.change_block(databases=[])


def test_what_was_paid_in_the_lost_time_comes_back_from_stripe(async_ward: Ward, scene: Scene) -> None:
    """The last subscription was acknowledged and then lost with the database; Stripe knows it, and grants it once."""
    lab, shop = async_ward.lab, scene.shop()
    deliver(shop, scene.stripe.event(CREATED, scene.stripe.put("subscriptions", id="sub_archived"), age=120))
    assert async_ward.run("backup-take").outcome == Outcome.RECOVERED
    NativeRepository(BackupRepository.load(async_ward.target)).unstream()
    deliver(shop, scene.stripe.event(CREATED, scene.stripe.put("subscriptions", id="sub_lost"), age=60))
    assert len(scene.statuses()) == 2
    async_ward.record()
    for node in lab.nodes:
        lab.destroy(node)
    run = async_ward.run("disaster-recover")
    assert run.outcome == Outcome.RECOVERED, run.why
    assert run.report is not None
    held = {each["claim"]: each["holds"] for each in run.report["evidence"]}
    assert held[BROUGHT.format("stripe-replay")]
    assert held[BROUGHT.format("stripe-resync")]
    assert scene.rows("SELECT id FROM subscriptions ORDER BY id") == [("sub_archived",), ("sub_lost",)]
    effects = "SELECT count(*), count(DISTINCT event_id) FROM event_effects"
    assert scene.rows(effects) == [(2, 2)]


def test_a_stripe_that_is_down_as_well_does_not_keep_the_database_from_coming_back(
    async_ward: Ward, scene: Scene
) -> None:
    """The report says that nobody knows what was paid; the database has writes, and a backup, all the same."""
    assert async_ward.run("backup-take").outcome == Outcome.RECOVERED
    async_ward.record()
    for node in async_ward.lab.nodes:
        async_ward.lab.destroy(node)
    scene.stripe.__exit__(None, None, None)
    run = async_ward.ended(async_ward.start("disaster-recover"), seconds=150)
    assert run.outcome == Outcome.UNVERIFIED, run.why
    assert run.report is not None
    failed = {each["claim"] for each in run.report["evidence"] if not each["holds"]}
    replay, resync = BROUGHT.format("stripe-replay"), BROUGHT.format("stripe-resync")
    assert {resync} <= failed <= {replay, resync}
    assert "It has a backup again." in {each["claim"] for each in run.report["evidence"]} - failed
