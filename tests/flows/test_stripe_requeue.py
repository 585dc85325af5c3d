"""What was given up is put back by its id, its type or the class of its error, and by nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flows.stripe_requeue import stripe_requeue
from tasks.stripe.reach import Reach
from tasks.stripe.requeue_probe import observe_letters
from tasks.stripe.requeue_state import RequeuePolicy
from tests.flows.stripe_scene import Scene, deliver, scene_on

LETTERS = (("customer.created", "dead"), ("invoice.paid", "dead"), ("invoice.paid", "retry"), ("radar.x", "skipped"))


@pytest.fixture
def scene(saved, ledger_server) -> Iterator[Scene]:
    """Give a shop with two dead letters, one event that waits, and one that was set aside."""
    with scene_on(ledger_server) as it:
        for number, (kind, status) in enumerate(LETTERS):
            event = it.stripe.event(kind, it.stripe.put("customers"))
            deliver(it.shop(careless=True), event)
            found = "UPDATE stripe_events SET status = %s, attempts = 5, error_class = %s WHERE event_id = %s"
            it.rows(found, status, "effect" if number else "permanent", event["id"])
        yield it


def states(scene: Scene) -> list[tuple[str, str, int]]:
    return scene.rows("SELECT type, status, attempts FROM stripe_events ORDER BY event_id")


def test_only_what_is_meant_is_put_back(scene):
    """By type, by class, by id, or what was set aside; the dry run lists it, the run gives it all its attempts."""
    at, before = Reach("shop", scene.account, scene.database), states(scene)
    first = scene.stripe.events[0]["id"]

    def meant(**policy: Any) -> list[str]:
        return [letter.type for letter in observe_letters.fn(at, RequeuePolicy(**policy))]

    assert meant() == ["customer.created", "invoice.paid"]
    assert meant(ids=(first,)) == meant(classes=("permanent",)) == ["customer.created"]
    assert meant(skipped=True)[-1] == "radar.x"
    assert meant(types=("radar.x",)) == []

    wanted = {"types": ("invoice.paid",)}
    state = stripe_requeue("shop", RequeuePolicy(dry_run=True, **wanted), return_state=True)
    assert (state.name, states(scene)) == ("NothingToDo", before)
    assert state.result(raise_on_failure=False).plan.count == 1
    state = stripe_requeue("shop", RequeuePolicy(**wanted), return_state=True)
    assert state.name == "Recovered", state.message
    assert states(scene) == [before[0], ("invoice.paid", "retry", 0), *before[2:]]
    assert stripe_requeue("shop", RequeuePolicy(**wanted), return_state=True).name == "NothingToDo"
