"""What was given up is put back by its id, its type or the class of its error, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flows.stripe_requeue import stripe_requeue
from tasks.stripe.requeue_state import RequeuePolicy
from tests.flows.stripe_scene import Scene, deliver, scene_on


@pytest.fixture
def scene(saved, ledger_server) -> Iterator[Scene]:
    """Give a shop with two dead letters and one that waits."""
    with scene_on(ledger_server) as it:
        for number, status in enumerate(("dead", "dead", "retry")):
            event = it.stripe.event("invoice.paid" if number else "customer.created", it.stripe.put("customers"))
            deliver(it.shop(careless=True), event)
            found = "UPDATE stripe_events SET status = %s, attempts = 5, error_class = %s WHERE event_id = %s"
            it.rows(found, status, "effect" if number else "permanent", event["id"])
        yield it


def states(scene: Scene) -> list[tuple[str, str, int]]:
    return scene.rows("SELECT type, status, attempts FROM stripe_events ORDER BY event_id")


@pytest.mark.parametrize("wanted", [{"types": ("invoice.paid",)}, {"classes": ("effect",)}], ids=str)
def test_only_what_is_meant_is_put_back(scene, wanted):
    """The other dead letter stays, and what waits keeps its attempts."""
    state = stripe_requeue("shop", RequeuePolicy(**wanted), return_state=True)
    assert state.name == "Recovered", state.message
    assert states(scene) == [
        ("customer.created", "dead", 5),
        ("invoice.paid", "retry", 0),
        ("invoice.paid", "retry", 5),
    ]
    assert stripe_requeue("shop", RequeuePolicy(**wanted), return_state=True).name == "NothingToDo"


def test_a_dry_run_puts_nothing_back(scene):
    """It lists them."""
    before = states(scene)
    state = stripe_requeue("shop", RequeuePolicy(dry_run=True), return_state=True)
    assert (state.name, states(scene)) == ("NothingToDo", before)
    assert state.result(raise_on_failure=False).plan.count == 2
