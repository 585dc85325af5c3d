"""Killed at every commit and every answer of Stripe, a replay and an endpoint leave what the next replay finishes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.flows.stripe_past import assert_true, history
from tests.flows.stripe_scene import SECRET, Scene

pytestmark = pytest.mark.long

FIELDS = {"account", "livemode", "database", "api_base", "requests_per_second", "endpoint_requests_per_second"}
TABLES = "customers, subscriptions, invoices, payments, stripe_events, event_effects"
Order = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def victims() -> Iterator[subprocess.Popen[str]]:
    """Give the process that is forked."""
    command = [sys.executable, "-m", "tests.tasks.stripe.victim"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def order(scene: Scene, victims: subprocess.Popen[str]) -> Order:
    """Give a way to have something done by a process that dies."""
    account = scene.account.model_dump(include=FIELDS) | {"secret_key": "sk_test_paper", "webhook_secrets": [SECRET]}

    def given(*, die: tuple[str, int] | None = None, events: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        assert victims.stdin
        assert victims.stdout
        said = {"url": scene.url, "account": account, "events": events or [], "die": die}
        victims.stdin.write(json.dumps(said) + "\n")
        victims.stdin.flush()
        return json.loads(victims.stdout.readline())

    return given


def past(scene: Scene) -> None:
    history(scene.stripe, 21, 20)
    for number in range(3):
        scene.stripe.event("payment_intent.succeeded", scene.stripe.put("payment_intents", id=f"pi_{number}"))


def finished_by_the_next(scene: Scene) -> None:
    """Whatever is there, one replay ends it: equal to the truth, every effect once, nothing lost."""
    ended = scene.rehearse()
    assert ended.name in {"Recovered", "NothingToDo"}, ended.message
    assert_true(scene)
    assert set(scene.statuses()) == {event["id"] for event in scene.stripe.events}
    assert set(scene.statuses().values()) <= {"processed", "superseded"}
    assert scene.rows("SELECT count(*) FROM payments") == [(3,)]


def test_a_replay_may_be_killed_at_any_commit_and_any_answer(scene, order):
    """The places of death are those that an undisturbed run passes, each in turn."""
    past(scene)
    passed = order()
    finished_by_the_next(scene)
    places = [(place, number) for place, count in passed.items() for number in range(1, count + 1)]
    assert len(places) > 20
    for place in places:
        scene.rows(f"TRUNCATE {TABLES}")
        assert order(die=place) == {"died": True}, place
        finished_by_the_next(scene)


def test_an_endpoint_may_be_killed_at_any_commit_and_any_answer(scene, order):
    """What it had claimed is done by the replay when its lease is over."""
    past(scene)
    events = scene.stripe.events[-4:]
    places = [(place, number) for place, count in order(events=events).items() for number in range(1, count + 1)]
    assert len(places) > 20
    for place in places[::3]:
        scene.rows(f"TRUNCATE {TABLES}")
        assert order(die=place, events=events) == {"died": True}, place
        scene.rows("UPDATE stripe_events SET lease_until = now() WHERE status = 'processing'")
        finished_by_the_next(scene)
