"""Looking with the rules of a pack: what it says, what it leaves behind, whom it tells, and that it changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.ledger import findings, outbox, runs
from blocks.rule_pack import RulePack
from flows.consistency_check import consistency_check
from tests.ledgers import sql

TABLES = """
CREATE TABLE users (id int PRIMARY KEY, email text);
CREATE TABLE jobs (id int PRIMARY KEY, user_id int);
INSERT INTO users SELECT n, 'u' || n || '@example.org' FROM generate_series(1, 20) n;
INSERT INTO jobs SELECT n, n FROM generate_series(1, 20) n;
"""
RULES = """
rules:
  - {name: jobs of nobody, kind: orphan, table: jobs, columns: [user_id], parent: users, parent_columns: [id]}
  - {name: users without an address, kind: missing, table: users, columns: [email]}
"""
UNSEEN = RULES + "  - {name: old visits, kind: missing, table: visits, columns: [at]}\n"
SAVED: dict[type[Block], dict[str, Any]] = {}


class App:
    """An application with two rules, known to Prefect as `checked`."""

    def __init__(self, url: str, ledger: Any) -> None:
        """Begin with rows that are right."""
        self.url, self.ledger = url, ledger
        self.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public;" + TABLES)
        self.save(AppDatabase(url=SecretStr(url)))
        self.write(RULES)

    def save(self, block: Block) -> None:
        """Save a block unless the test before left it so: that takes longer than a look."""
        if SAVED.get(type(block)) != block.model_dump():
            block.save("checked", overwrite=True)
            SAVED[type(block)] = block.model_dump()

    def write(self, rules: str) -> None:
        self.save(RulePack(rules=rules))

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def check(self, **policy: Any) -> Any:
        return consistency_check("checked", policy, requested_by="ada", return_state=True)

    @property
    def notices(self) -> list[tuple[str, str]]:
        found = [each.payload for each in outbox.undelivered(self.ledger) if each.kind == "notification"]
        return [(each["urgency"], each["body"]) for each in found]


@pytest.fixture(scope="module")
def url(ledger_server) -> Iterator[str]:
    """A database for this file."""
    sql(ledger_server, "DROP DATABASE IF EXISTS checked WITH (FORCE)")
    sql(ledger_server, "CREATE DATABASE checked")
    yield f"{ledger_server}checked"
    sql(ledger_server, "DROP DATABASE checked WITH (FORCE)")


@pytest.fixture
def app(saved, url) -> App:
    """An application, and a ledger that has not seen it."""
    return App(url, saved)


def table(key: str) -> list[dict[str, str]]:
    """Read the newest table artifact of a key."""
    with get_client(sync_client=True) as client:
        found = [a for a in client.read_artifacts() if a.key == key]
    return json.loads(max(found, key=lambda a: a.created).data)


def test_rules_that_hold_are_nothing_to_do_and_nobody_is_told(app):
    """Green, with each rule as evidence, and a line in the history."""
    state = app.check()
    report = state.result(raise_on_failure=False)
    assert (state.type, state.name, state.message) == ("COMPLETED", "NothingToDo", "All 2 rules hold.")
    assert [(e.claim, e.seen, e.holds) for e in report.evidence] == [
        ("no jobs of nobody", "none", True),
        ("no users without an address", "none", True),
    ]
    assert app.notices == []
    assert table("consistency-checked-history")[0]["verdict"] == "ok"


def test_wrong_rows_are_said_shown_and_told(app):
    """Red, with counts in the sentence, the rows in a table, and one message that wakes nobody."""
    app.sql("DELETE FROM users WHERE id > 17; UPDATE users SET email = ' ' WHERE id = 1")
    state = app.check()
    assert (state.type, state.name) == ("FAILED", "Unverified")
    assert state.message == "2 of 2 rules are broken: jobs of nobody: 3; users without an address: 1."
    assert app.notices == [("inform", state.message)]
    rows = table("consistency-checked-rows")
    assert [row["row"] for row in rows] == ["18: user_id 18", "19: user_id 19", "20: user_id 20", "1: email empty"]
    assert {row["table"] for row in rows} == {"jobs", "users"}


def test_people_are_told_of_what_is_new_or_has_grown(app):
    """The same again says nothing, nor does less; more does, and a look with some of the rules forgets no other."""
    app.sql("DELETE FROM users WHERE id > 17")
    app.check()
    assert len(app.notices) == 1
    app.check()
    app.check(rules=["users without an address"])
    app.check()
    assert len(app.notices) == 1
    app.sql("DELETE FROM jobs WHERE id = 18")
    app.check()
    assert len(app.notices) == 1
    app.sql("DELETE FROM users WHERE id = 17")
    app.check()
    assert [body for _, body in app.notices][1:] == ["1 of 2 rules are broken: jobs of nobody: 3."]
    app.sql("UPDATE users SET email = NULL WHERE id = 1")
    app.check(alert=False)
    assert len(app.notices) == 2


def test_a_rule_that_could_not_be_looked_at_is_never_green(app):
    """A table that is gone: red with the remedy, told once, and told apart from a rule that holds."""
    app.write(UNSEEN)
    state = app.check()
    report = state.result(raise_on_failure=False)
    assert (state.name, state.message) == ("Unverified", "1 could not be looked at: old visits.")
    assert [e.holds for e in report.evidence] == [True, True, False]
    assert "could not be looked at: There is no table visits" in report.evidence[2].seen
    assert any(each.startswith("old visits: There is no table visits") for each in report.unverified)
    assert table("consistency-checked-rows")[0]["row"].startswith("NOT LOOKED AT: There is no table visits")
    app.check()
    assert len(app.notices) == 1
    assert table("consistency-checked-history")[0]["not looked at"] == "old visits"


def test_a_look_that_takes_too_long_is_not_green(app):
    """A rule past its time is said, and those after it are looked at all the same."""
    app.save(AppDatabase(url=SecretStr(app.url), statement_seconds=1))
    app.write("rules:\n  - {name: slow, kind: invariant, query: SELECT pg_sleep(5)}\n" + RULES.split("rules:\n")[1])
    state = app.check()
    report = state.result(raise_on_failure=False)
    assert state.message == "1 could not be looked at: slow."
    assert "statement timeout" in report.evidence[0].seen
    assert [e.holds for e in report.evidence] == [False, True, True]


def test_the_history_is_one_line_for_each_look(app):
    """The newest first, with what changed; thirty at most, however many there were."""
    app.check()
    app.sql("DELETE FROM users WHERE id > 17")
    app.check()
    run = runs.history(app.ledger)[0]
    last = findings.history(app.ledger, "checked", 1)
    findings.examined(app.ledger, [e.model_copy(update={"run_id": f"old-{n}"}) for n in range(35) for e in last])
    app.sql("DELETE FROM users WHERE id = 17")
    app.check()
    lines = table("consistency-checked-history")
    assert len(lines) == 30
    assert lines[0] | {"seconds": ""} == {
        "when (UTC)": f"{runs.history(app.ledger)[0].started_at:%Y-%m-%d %H:%M}",
        "verdict": "1 broken",
        "wrong rows": "4",
        "since the look before": "+1",
        "broken": "jobs of nobody: 4",
        "not looked at": "-",
        "rules": "2",
        "seconds": "",
    }
    assert run.outcome == "Unverified"


@pytest.mark.parametrize("dry_run", [True, False])
def test_it_changes_nothing_with_and_without_a_dry_run(app, dry_run):
    """No transaction of the database has written, and the outcome is the same."""
    app.sql("DELETE FROM users WHERE id > 17")
    before = app.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
    state = app.check(dry_run=dry_run)
    assert app.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text") == before
    assert state.name == "Unverified"
    assert "(dry run)" not in runs.history(app.ledger)[0].markdown


def test_a_query_of_the_author_cannot_write(app):
    """An invariant that writes, or that ends its statement to begin another, is said, and nothing is changed."""
    app.write(
        "rules:\n"
        "  - {name: a, kind: invariant, query: 'WITH d AS (DELETE FROM jobs RETURNING *) SELECT * FROM d'}\n"
        "  - {name: b, kind: invariant, query: 'SELECT 1 LIMIT 0; DELETE FROM jobs'}\n"
        "  - {name: c, kind: invariant, query: 'SELECT 1) q; DELETE FROM jobs; --'}\n"
    )
    state = app.check()
    assert (state.name, state.message) == ("Unverified", "3 could not be looked at: a, b, c.")
    assert app.sql("SELECT count(*) FROM jobs") == [(20,)]


def test_what_is_refused_every_hour_is_said_once(app):
    """A typo in the policy is refused, or it would look like a rule that holds; nobody is woken by it."""
    for _ in range(2):
        state = app.check(rules=["jobs of nobodi"])
        assert (state.name, state.message.partition(":")[0]) == ("Refused", "The pack has no rule named jobs of nobodi")
    assert app.notices == [("inform", state.message)]
    app.check()
    app.check(rules=["jobs of nobodi"])
    assert len(app.notices) == 2


def test_without_a_pack_it_is_refused(app):
    """The sentence names the block that is missing."""
    state = app.check(pack="nowhere")
    assert state.name == "Refused"
    assert "There is no block nowhere of the type Salvor rule pack" in state.message
