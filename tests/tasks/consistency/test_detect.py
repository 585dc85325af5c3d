"""One look: what it counts, what it keeps, and what it says when it cannot see."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from psycopg import sql
from pydantic import SecretStr

from blocks import live_catalog
from blocks.app_database import AppDatabase
from blocks.rules import Invariant, Orphan
from tasks.consistency.checks import Check
from tasks.consistency.compile import compiled, named
from tasks.consistency.detect import Found, look
from tests.ledgers import sql as run_sql

ORPHANS = Orphan(name="orphans", table="jobs", columns=("user_id",), parent="users", parent_columns=("id",))


@pytest.fixture(scope="module")
def database(ledger_server) -> Iterator[AppDatabase]:
    """A thousand jobs, of which a hundred are of nobody."""
    run_sql(ledger_server, "DROP DATABASE IF EXISTS detected WITH (FORCE)")
    run_sql(ledger_server, "CREATE DATABASE detected")
    database = AppDatabase(url=SecretStr(f"{ledger_server}detected"))
    with database.writing() as connection:
        connection.execute("CREATE TABLE users (id int PRIMARY KEY)")
        connection.execute("CREATE TABLE jobs (part text, id int, user_id int, PRIMARY KEY (part, id))")
        connection.execute("INSERT INTO users SELECT generate_series(1, 900)")
        connection.execute("INSERT INTO jobs SELECT 'a|b', n, n FROM generate_series(1, 1000) n")
    yield database
    run_sql(ledger_server, "DROP DATABASE detected WITH (FORCE)")


def invariant(query: str) -> Check:
    return Check(rule=Invariant(name=query[:50], query=query), table=None, find=sql.SQL(query).format())


def looked(database: AppDatabase, *checks: Check, most: int = 10) -> list[Found]:
    said: list[float] = []
    with database.reading() as connection:
        found = list(look(connection, list(checks), most, lambda _, percent: said.append(percent)))
    assert said == sorted(said)
    return found


def orphans(database: AppDatabase) -> Check:
    with database.reading() as connection:
        (check,), _ = compiled([ORPHANS], live_catalog.read(connection, "public", named([ORPHANS])))
    return check


def test_all_are_counted_and_some_are_kept(database):
    """The keys of a composite key one by one, and the evidence."""
    (found,) = looked(database, orphans(database), most=25)
    assert (found.finding.found, found.finding.kept, len(found.rows)) == (100, 25, 25)
    assert all(key[0] == "a|b" and 900 < int(key[1]) <= 1000 for key, _ in found.rows)
    assert found.rows[0][1] == f"user_id {found.rows[0][0][1]}"
    assert len(found.finding.samples) == 20
    assert found.finding.samples[0].startswith("a|b, 9")


def test_memory_does_not_grow_with_what_is_found(database):
    """Of twenty thousand wrong rows less than a megabyte is held at any time."""
    check = invariant("SELECT repeat('x', 100) || n FROM generate_series(1, 20000) n")
    tracemalloc.start()
    (found,) = looked(database, check)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.finding.found == 20_000
    assert peak < 1_000_000


def test_a_rule_that_breaks_off_has_found_nothing_and_spoils_no_other(database):
    """Rows that were read before the error are no finding; the next rule is looked at in the same moment."""
    broken, whole = looked(database, invariant("SELECT 1 / (50 - n) FROM generate_series(1, 100) n"), orphans(database))
    assert broken.finding.unseen == "division by zero."
    assert (broken.finding.found, broken.finding.kept, broken.finding.samples, broken.rows) == (0, 0, (), [])
    assert not broken.finding.holds
    assert whole.finding.found == 100


def test_what_is_found_is_as_of_one_moment(database):
    """Rows that are put right or broken while it looks make no difference."""
    check = orphans(database)
    with database.reading() as connection:
        first, *_ = [found.finding.found for found in look(connection, [check], 10, lambda *_: None)]
        with database.writing() as other:
            other.execute("DELETE FROM users WHERE id = 1")
        again, *_ = [found.finding.found for found in look(connection, [check], 10, lambda *_: None)]
    with database.writing() as other:
        other.execute("INSERT INTO users VALUES (1)")
    assert (first, again) == (100, 100)


def test_a_look_has_the_settings_of_a_guest(database):
    """Row security fails instead of hiding rows, sorts fit into memory, and it waits for no lock for long."""
    names = ("row_security", "work_mem", "max_parallel_workers_per_gather", "lock_timeout", "transaction_read_only")
    query = " || ' ' || ".join(f"current_setting('{name}')" for name in names)
    (found,) = looked(database, invariant(f"SELECT {query}"))
    assert found.rows[0][1] == "off 64MB 2 5s on"
