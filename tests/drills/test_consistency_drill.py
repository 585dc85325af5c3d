"""Rows are broken, found, and put right by a run that is killed in the middle; the next finishes, and all is undone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from blocks.ledger import runs
from tests.drills.run_apart import ended, start
from tests.flows.broken_rows import FAULTS, FOUND, Broken
from tests.ledgers import silence, sql

pytestmark = pytest.mark.drill
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'salvor' AND wait_event_type = 'Lock'"
POLICY: dict[str, object] = {"dry_run": False, "max_share": 1}


@pytest.fixture
def app(prefect_server, book, ledger_server) -> Iterator[Broken]:
    """Give an application whose rows are wrong."""
    book.save("ledger", overwrite=True)
    sql(ledger_server, "CREATE DATABASE broken_drill")
    it = Broken(f"{ledger_server}broken_drill", book)
    it.sql(FAULTS)
    yield it
    sql(ledger_server, "DROP DATABASE broken_drill WITH (FORCE)")


def killed_in_its_act(app: Broken) -> None:
    """Let a trigger of the table make the last rule wait for a lock, and kill the run when it waits."""
    app.sql(
        "CREATE TABLE gate (id int); CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN LOCK TABLE public.gate IN SHARE MODE; RETURN new; END';"
        "CREATE TRIGGER waits BEFORE UPDATE OF attempts ON jobs FOR EACH ROW EXECUTE FUNCTION wait()"
    )
    process = start("consistency-repair", "broken", **POLICY)
    with psycopg.connect(app.url) as connection:
        connection.execute("LOCK TABLE gate IN ACCESS EXCLUSIVE MODE")
        give_up = time.monotonic() + 60
        while not app.sql(WAITS)[0][0]:
            assert time.monotonic() < give_up, "it never came to its act"
            time.sleep(0.02)
        process.kill()
        process.communicate()
    app.sql("DROP TRIGGER waits ON jobs")


@pytest.mark.long
def test_a_repair_that_is_killed_is_finished_by_the_next_and_all_of_it_is_given_back(app: Broken, book) -> None:
    """SIGKILL within a batch: what was committed stays, nothing is done twice, and undo gives the identical rows."""
    broken = app.rows()
    name, message = ended(start("consistency-check", "broken"))
    assert (name, "jobs that hang: 12" in message) == ("Unverified", True), message
    killed_in_its_act(app)
    half = app.last_run
    assert app.sql("SELECT count(*) FROM jobs WHERE status = 'processing'") == [(12,)]
    assert app.sql('SELECT count(*) FROM "User Notes"') == [(270,)]
    silence(book, half)
    name, message = ended(start("consistency-repair", "broken", **POLICY))
    assert name == "Recovered", message
    last = app.last_run
    done = "SELECT sum(repaired + quarantined) FROM salvor.consistency_progress"
    assert app.sql(done) == [(sum(FOUND.values()),)]
    doubled = "SELECT count(*) - count(DISTINCT (rule, key)) FROM salvor.consistency_changes"
    assert app.sql(doubled) == [(0,)]
    name, message = ended(start("consistency-undo", "broken", run_id=last))
    assert name == "Recovered", message
    assert app.rows() == broken, "what the run changed that died in this work comes back with it"
    assert ended(start("consistency-undo", "broken", run_id=half))[0] == "NothingToDo"
    assert {each.outcome for each in runs.history(book) if each.id == half} == {None}
