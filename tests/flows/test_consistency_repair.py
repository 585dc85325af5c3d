"""Putting rows right: all that is wrong, nothing else, once, and within what a person allowed."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from blocks.ledger import gate
from tests.flows.broken_rows import FAULTS, FOUND, RULES, Broken
from tests.ledgers import intent, new_run


@pytest.fixture
def app(broken) -> Broken:
    """An application with rows that are right, and a ledger that has not seen it."""
    return broken


def report(state):
    return state.result(raise_on_failure=False)


def test_all_that_is_wrong_is_put_right_and_an_undo_gives_the_identical_rows_back(app):
    """Every kind in one run: counts as planted, other rows untouched, again nothing to do, and the exact way back."""
    right = app.rows()
    app.sql(FAULTS)
    broken = app.rows()
    dry = app.repair(dry_run=True)
    assert dry.name == "NothingToDo", dry.message
    assert app.rows() == broken
    state = app.repair()
    assert state.name == "Recovered", (state.message, report(state).evidence, report(state).timeline)
    plan = report(state).plan
    assert {each.rule: each.rows + each.followers for each in plan.rules} == FOUND
    assert app.sql("SELECT count(*) FROM users WHERE stripe_customer_id IS NULL") == [(2,)]
    assert app.sql("SELECT id FROM users WHERE tier = 'paid' ORDER BY 1") == [(10,), (11,)]
    assert app.sql("SELECT status, count(*) FROM jobs WHERE id <= 12 GROUP BY 1 ORDER BY 1") == [
        ("failed", 4),
        ("pending", 8),
    ]
    assert app.rows()["folders"] == [row for row in right["folders"] if int(row[1:].split(",")[0]) < 50]
    assert len(app.rows()["User Notes"]) == 270
    fences = "SELECT convalidated FROM pg_constraint WHERE conname LIKE 'salvor_%' AND contype = 'f'"
    assert app.sql(fences) == [(True,)]
    run = app.last_run
    again = app.repair()
    assert again.name == "NothingToDo", again.message
    back = app.undo(run)
    assert back.name == "Recovered", (back.message, report(back).unverified, report(back).timeline)
    assert app.rows() == broken
    assert app.sql(fences) == []
    assert app.undo(run).name == "NothingToDo"


def test_a_dry_run_writes_nothing_at_all(app):
    """The server has given out no transaction number, so not one row was written by us."""
    app.sql(FAULTS)
    before = app.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
    app.repair(dry_run=True)
    assert app.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text") == before
    assert app.sql("SELECT to_regclass('salvor.consistency_changes')") == [(None,)]


def test_too_many_rows_are_refused_with_their_number(app):
    """A rule that finds very many is more often wrong itself."""
    app.sql(FAULTS)
    state = app.repair(max_rows=20)
    assert state.name == "Refused"
    assert "“notes of nobody” would change 30 rows" in state.message
    assert app.sql("SELECT to_regclass('salvor.consistency_changes')") == [(None,)]


def test_what_cannot_be_repaired_is_refused_with_the_remedy(app):
    """A view, a table without a primary key, and a name with SQL in it, which is only a name."""
    app.sql("CREATE VIEW seen AS SELECT * FROM jobs; CREATE TABLE bare AS SELECT 1 AS user_id")
    one = (
        "  - {name: n, kind: orphan, table: %s, columns: [user_id], parent: users, parent_columns: [id],"
        " repair: quarantine}"
    )
    for table, said in (
        ("seen", "seen is a view: its rows cannot be repaired"),
        ("bare", "bare has no primary key"),
        ('"x; DROP TABLE jobs; --"', "There is no table x; DROP TABLE jobs; --"),
    ):
        app.write("rules:\n" + one % table)
        state = app.repair()
        assert state.name == "Refused"
        assert said in state.message
    assert app.sql("SELECT count(*) FROM jobs") == [(100,)]


def test_many_rows_need_a_second_person(app):
    """Above the limit the plan asks, and one who does not say who asks is refused."""
    app.sql(FAULTS)
    state = app.repair(requested_by="", approve_above_rows=10)
    assert state.name == "Refused"
    assert "This needs an approval by somebody other than the requester" in state.message


def test_rows_that_somebody_holds_are_left_and_said(app):
    """A lock that is never given up does not stop the others, and the account adds up."""
    app.sql(FAULTS)
    app.write("rules:\n" + RULES.split("rules:\n")[1].split("  - {name: jobs that hang")[0])
    with psycopg.connect(app.url) as holder:
        holder.execute("SELECT 1 FROM users WHERE id = 10 FOR UPDATE")
        state = app.repair()
        holder.rollback()
    assert state.name == "Unverified"
    assert any(
        each.startswith("wrong tiers: 1 rows were left: somebody else held a lock") for each in report(state).unverified
    )
    assert report(state).evidence[-1].holds
    assert app.sql("SELECT id FROM users WHERE tier = 'paid'") == [(11,)]
    assert app.repair().name == "Recovered"


def test_rows_that_are_put_right_meanwhile_are_not_overwritten(app):
    """Writers go on: what they have changed since the look is counted, and kept."""
    app.sql(FAULTS)
    holder = psycopg.connect(app.url)
    holder.execute("UPDATE users SET tier = 'paid', email = 'by hand' WHERE id = 10")
    timer = threading.Timer(2.0, holder.commit)
    timer.start()
    state = app.repair(rules=["wrong tiers"])
    timer.join()
    holder.close()
    assert app.sql("SELECT email, tier FROM users WHERE id = 10") == [("by hand", "paid")]
    account = app.sql("SELECT found, repaired + meanwhile + skipped FROM salvor.consistency_progress WHERE found > 0")
    assert account == [(2, 2)]
    assert state.name in {"Recovered", "Unverified"}


def test_what_the_database_itself_refers_to_is_not_taken_away(app):
    """A CASCADE would delete rows that nobody has judged: such a row is left, and said."""
    app.sql(FAULTS)
    app.sql(
        "CREATE TABLE pages (id int PRIMARY KEY, folder int REFERENCES folders ON DELETE CASCADE);"
        "INSERT INTO pages VALUES (1, 60)"
    )
    state = app.repair(rules=["folders in no folder"])
    assert state.name == "Unverified"
    assert app.sql("SELECT count(*) FROM pages") == [(1,)]
    assert "refer to it by a foreign key" in " ".join(report(state).unverified)


def test_an_older_run_is_turned_away_by_the_database_itself(app):
    """A run whose lease went to another cannot write, even if it still believes that it holds it."""
    app.sql(FAULTS)
    assert app.repair(rules=["wrong tiers"]).name == "Recovered"
    app.sql("UPDATE salvor.consistency_tokens SET token = token + 1000")
    state = app.repair(rules=["jobs that hang"])
    assert state.name in {"Refused", "NeedsHuman"}
    assert "repairs the rows of broken now" in state.message
    assert app.sql("SELECT count(*) FROM jobs WHERE status = 'processing'") == [(12,)]


def test_a_fence_behind_a_long_transaction_makes_writers_wait_only_briefly(app):
    """The constraint is tried for 200 ms at a time, so nobody is held up behind it, and it comes in the end."""
    app.sql(FAULTS)
    holder = psycopg.connect(app.url)
    holder.execute("SELECT 1 FROM users LIMIT 1")
    holder.execute("UPDATE jobs SET error = 'x' WHERE id = 50")
    waits = []

    def write() -> None:
        for _ in range(20):
            began = time.monotonic()
            app.sql("UPDATE jobs SET error = 'y' WHERE id = 51")
            waits.append(time.monotonic() - began)
            time.sleep(0.05)
        holder.commit()

    writer = threading.Thread(target=write)
    writer.start()
    state = app.repair(rules=["jobs of nobody"])
    writer.join()
    holder.close()
    assert state.name == "Recovered", (state.message, report(state).timeline)
    assert len(waits) == 20


def test_two_repairs_of_one_database_are_one(app):
    """Whoever comes second finds the lease taken, and leaves the rows alone."""
    app.sql(FAULTS)
    run = new_run(app.ledger, "consistency-repair", target="broken")
    gate.claim(app.ledger, run.id, intent("other", resource="recovery.consistency.broken", min_interval_seconds=0))
    state = app.repair()
    assert (state.name, state.message) == ("NothingToDo", f"Run {run.id} is already on it.")
    assert app.sql("SELECT count(*) FROM jobs WHERE status = 'processing'") == [(12,)]
