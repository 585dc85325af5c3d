"""A replay is killed wherever it is, and run again; events go through the application's own endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from threading import Event

import pytest

from blocks.ledger import runs
from flows.triggers.plane.ports import pick
from tests.drills.run_apart import ended, start
from tests.flows.stripe_scene import SECRET, Scene, scene_on
from tests.ledgers import silence

pytestmark = pytest.mark.drill
OBJECTS = 30
EFFECT = "customer.subscription.created"
QUICK = {"settle_seconds": 0, "wait_seconds": 20}
#: At which request to Stripe, counted from the first look at an object, the run dies.
DEATHS = (1, 25)


@pytest.fixture
def scene(prefect_server, book, ledger_server) -> Iterator[Scene]:
    """Give a shop that has missed everything."""
    book.save("ledger", overwrite=True)
    with scene_on(ledger_server) as it:
        for number in range(OBJECTS):
            it.stripe.event(EFFECT, it.stripe.put("subscriptions"))
            it.stripe.event("payment_intent.succeeded", it.stripe.put("payment_intents", id=f"pi_{number}"))
        for _ in range(100):  # newer ones: a list of them would not help, so each payment is asked for
            it.stripe.put("payment_intents", created=int(time.time()))
        yield it


def test_a_replay_that_is_killed_anywhere_is_finished_by_the_next(scene: Scene, book) -> None:
    """SIGKILL at the first and in the middle of the looks: the next run ends it, and no effect is there twice."""
    for death in DEATHS:
        reached, release, looks = Event(), Event(), iter(range(1, 100_000))

        def here(path: str, _query: object, *, at: int = death, it=looks, then=reached, hold=release) -> None:
            if path.startswith("/v1/payment_intents/") and next(it) == at:
                then.set()
                hold.wait(10)

        scene.stripe.fault = here
        process = start("stripe-replay", "shop", **QUICK)
        if reached.wait(30):
            process.kill()
        process.wait()
        release.set()
        silence(book, runs.history(book)[0].id)
    scene.stripe.fault = lambda _path, _query: None
    name, message = ended(start("stripe-replay", "shop", **QUICK))
    assert name == "Recovered", message
    assert set(scene.statuses().values()) == {"processed"}
    assert len(scene.statuses()) == 2 * OBJECTS
    assert scene.rows("SELECT count(*), count(DISTINCT event_id) FROM event_effects") == [(OBJECTS, OBJECTS)]
    assert scene.rows("SELECT count(*) FROM payments") == [(OBJECTS,)]


@pytest.mark.long
def test_an_application_that_only_speaks_http_gets_every_event_signed_anew(scene: Scene) -> None:
    """Its endpoint verifies each signature, and dead letters are sent again when they were put back."""
    port = pick(0)
    account = scene.account.model_dump(exclude={"secret_key", "webhook_secrets"}, include=FIELDS)
    said = {"account": account | {"secret_key": "sk_test_paper", "webhook_secrets": [SECRET]}}
    said |= {"database_url": scene.url, "port": port}
    shop = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.shop.endpoint"], env=os.environ | {"SHOP": json.dumps(said)}
    )
    try:
        url = f"http://127.0.0.1:{port}/stripe/webhook"
        name, message = ended(start("stripe-replay", "shop", mode="post", endpoint_url=url[:-1], attempts=1, **QUICK))
        assert name == "Recovered", message
        assert set(scene.statuses().values()) == {"dead"}
        name, message = ended(start("stripe-requeue", "shop"))
        assert name == "Recovered", message
        name, message = ended(start("stripe-replay", "shop", mode="post", endpoint_url=url, **QUICK))
        assert name == "Recovered", message
    finally:
        shop.kill()
        shop.wait()
    assert "dead" not in scene.statuses().values()
    assert scene.rows("SELECT count(*), count(DISTINCT event_id) FROM event_effects") == [(OBJECTS, OBJECTS)]


FIELDS = {"account", "livemode", "database", "api_base", "requests_per_second", "endpoint_requests_per_second"}
