"""Killed at every commit and at statements all along, a repair and an undo leave what the next run finishes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.tasks.consistency.stage import Stage, look_of

pytestmark = pytest.mark.long

TABLES = """
CREATE TABLE users (id int PRIMARY KEY, org int, mail text, tier text);
CREATE TABLE orgs (id int PRIMARY KEY, tier text);
CREATE TABLE jobs (id int PRIMARY KEY, user_id int);
INSERT INTO orgs VALUES (1, 'free'), (2, 'paid');
INSERT INTO users VALUES (1, 1, 'a', 'free'), (2, 2, 'a', 'free'), (3, 9, 'c', 'free'), (4, 1, 'd', 'free');
INSERT INTO jobs VALUES (1, 1), (2, 3), (3, 3), (4, 8), (5, 2), (6, NULL);
"""
RULES = """
rules:
  - {name: users of no org, kind: orphan, table: users, columns: [org], parent: orgs, parent_columns: [id],
     repair: quarantine, fence: true}
  - {name: jobs of nobody, kind: orphan, table: jobs, columns: [user_id], parent: users, parent_columns: [id],
     repair: quarantine}
  - {name: wrong tiers, kind: mismatch, table: users, source: orgs, join: {org: id}, columns: {tier: tier},
     repair: copy}
  - {name: shared addresses, kind: duplicate, table: users, columns: [mail], keep: [{column: id}], why: the oldest,
     repair: 'null', fence: true}
"""
RIGHT = {
    "users": [(1, 1, "a", "free"), (2, 2, None, "paid"), (4, 1, "d", "free")],
    "jobs": [(1, 1), (5, 2), (6, None)],
}
Order = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def victims() -> Iterator[subprocess.Popen[str]]:
    """Give the process that is forked."""
    command = [sys.executable, "-m", "tests.tasks.consistency.victim"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def order(stage: Stage, victims: subprocess.Popen[str]) -> Order:
    """Give a way to have something done by a process that dies."""

    def given(*, die: tuple[str, int] | None = None, undo: str = "") -> dict[str, Any]:
        assert victims.stdin
        assert victims.stdout
        ledger = stage.ledger.url.get_secret_value()
        said = {"url": stage.url, "ledger": ledger, "rules": RULES, "policy": {}, "undo": undo, "die": die}
        victims.stdin.write(json.dumps(said) + "\n")
        victims.stdin.flush()
        return json.loads(victims.stdout.readline())

    return given


def begin(stage: Stage) -> dict[str, str]:
    """Let all be wrong again, and nobody have looked at it; give the hashes."""
    stage.bury()
    stage.forget()
    stage.clear(TABLES)
    stage.rules = RULES
    return stage.hashes()


def places_of(passed: dict[str, int]) -> list[tuple[str, int]]:
    """Give the moment after every commit, and each eighth statement.

    Whoever dies before a commit leaves what he had left after the one before. All of them passed, in two minutes.
    """
    places = [(place, number) for place, count in passed.items() for number in range(1, count + 1)]
    return [each for each in places if each[0] == "after commit" or (each[0] == "statement" and each[1] % 8 == 0)]


def assert_right(stage: Stage) -> None:
    """All is as it must be; every row is there, in its table or in the quarantine; no field was changed twice."""
    assert {name: stage.rows(name) for name in RIGHT} == RIGHT
    assert stage.quarantined() == 1 + 3
    assert stage.sql("SELECT rule, key FROM salvor.consistency_changes ORDER BY 1") == [
        ("shared addresses", ["2"]),
        ("wrong tiers", ["2"]),
    ]
    assert stage.sql("SELECT convalidated FROM pg_constraint WHERE contype = 'f'") == [(True,)]


def test_a_repair_may_be_killed_at_any_commit_and_amid_its_statements(stage, order):
    """The next run finishes it: nothing is lost, nothing is done twice; and one undo gives all of it back."""
    before = begin(stage)
    places = places_of(order())
    assert_right(stage)
    assert len(places) > 15
    for place in places:
        begin(stage)
        assert order(die=place) == {"died": True}, place
        died = stage.run_ids()[-1]
        stage.bury()
        report = stage.repair()
        assert report.outcome in {"Recovered", "NothingToDo"}, (place, report)
        assert_right(stage)
        last = look_of(report) if report.outcome == "Recovered" else died
        undone = stage.undo(last)
        assert (undone.outcome, stage.hashes()) == ("Recovered", before), (place, undone)


def test_an_undo_may_be_killed_at_any_commit_and_amid_its_statements(stage, order):
    """The next undo finishes it: the tables are as they were, and no row is there twice."""
    before = begin(stage)
    places = places_of(order(undo=look_of(stage.repair())))
    assert stage.hashes() == before
    assert len(places) > 8
    for place in places:
        begin(stage)
        run = look_of(stage.repair())
        assert order(die=place, undo=run) == {"died": True}, place
        stage.bury()
        undone = stage.undo(run)
        assert undone.outcome in {"Recovered", "NothingToDo"}, (place, undone)
        assert (stage.hashes(), stage.quarantined()) == (before, 0), place
