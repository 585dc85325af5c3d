"""How PostgreSQL would run what a rule becomes, on tables of some size: by its shape, not by its time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tasks.consistency.checks import Check
from tasks.consistency.detect import look
from tasks.consistency.phrases import all_of, column, given_keys
from tests.tasks.consistency.ground import Ground

ROWS = 200_000
MANY = 1000  #: a part of a plan that is run once for each row must not read more than that
SCHEMA = f"""
CREATE TABLE users (id bigint PRIMARY KEY, customer text, tier text);
CREATE INDEX ON users (customer);
CREATE TABLE jobs (id bigint PRIMARY KEY, user_id bigint, tier text);
INSERT INTO users SELECT n, 'c' || n % {ROWS - 200}, 'free' FROM generate_series(1, {ROWS}) n;
INSERT INTO jobs SELECT n, n, 'free' FROM generate_series(1, {ROWS}) n;
UPDATE jobs SET user_id = -id, tier = 'paid' WHERE id % 1000 = 0;
ANALYZE users, jobs;
"""
RULES: dict[str, dict[str, Any]] = {
    "orphan": {"table": "jobs", "columns": ["user_id"], "parent": "users", "parent_columns": ["id"], "repair": "null"},
    "duplicate": {"table": "users", "columns": ["customer"], "keep": [{"column": "id"}], "why": "x", "repair": "null"},
    "mismatch": {
        "table": "jobs", "source": "users", "join": {"id": "id"}, "columns": {"tier": "tier"}, "repair": "copy"
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def large(grounds: str) -> Iterator[Ground]:
    """Two tables of 200,000 rows, of which one in a thousand is wrong, and the settings of a look."""
    with psycopg.connect(grounds) as connection:
        ground = Ground(connection)
        ground.sql(SCHEMA)
        list(look(connection, [], 0, lambda *_: None))
        yield ground
        connection.rollback()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def plan_of(ground: Ground, statement: sql.Composable) -> list[dict[str, Any]]:
    ((explained,),) = ground.connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) {}").format(statement)).fetchall()
    return list(nodes(explained[0]["Plan"]))


@pytest.mark.parametrize("kind", RULES)
def test_all_rows_are_looked_at_once(large: Ground, kind: str) -> None:
    """Nothing is run for each row but what an index answers: no subplan, and no loop over a table."""
    check = large.check(kind=kind, **RULES[kind])
    plan = plan_of(large, check.find)
    assert not [node for node in plan if node.get("Subplan Name")]
    for node in plan:
        if node["Node Type"] == "Nested Loop":
            inner = node["Plans"][1]
            assert inner["Node Type"] in {"Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Memoize"}
            assert inner["Plan Rows"] < MANY
    assert len(large.found_keys(check)) == 200


def batch(check: Check, keys: list[tuple[str, ...]]) -> sql.Composed:
    assert check.table
    joined = all_of(sql.SQL("{} = {}").format(column(name), column(name, "k")) for name in check.table.primary_key)
    return sql.SQL("SELECT FROM {} t JOIN {} ON {} WHERE {} FOR UPDATE OF t SKIP LOCKED").format(
        check.table.identifier, given_keys(check.table, keys), joined, check.wrong
    )


@pytest.mark.parametrize("kind", RULES)
def test_a_batch_reads_only_its_rows(large: Ground, kind: str) -> None:
    """Whether 200 rows are still wrong is answered by indexes; no table is read as a whole."""
    check = large.check(kind=kind, **RULES[kind])
    plan = plan_of(large, batch(check, large.found_keys(check)))
    assert not [node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"]


def test_not_in_would_be_noticed(large: Ground) -> None:
    """The shape that takes hours on millions of rows does not pass the tests above."""
    plan = plan_of(large, sql.SQL("SELECT id FROM jobs WHERE user_id NOT IN (SELECT id FROM users)"))
    assert [node for node in plan if node.get("Subplan Name")]
