"""What the consistency bench compares with: the bare query below which nothing is possible, and naive SQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.lab.bench_consistency_stage import Stage

#: The same as Salvor gives its own look.
SETTINGS = "SET work_mem = '64MB'; SET max_parallel_workers_per_gather = 2; SET jit = off"
BARE = "SELECT p.id FROM payments p WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = p.user_id)"
NOT_IN = "SELECT p.id FROM (SELECT * FROM payments LIMIT {0}) p WHERE p.user_id NOT IN (SELECT id FROM users)"
DELETE = "DELETE FROM payments p WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = p.user_id)"
SYNC = "UPDATE users u SET subscription_status = s.status FROM subscriptions s WHERE s.id = u.subscription_id"
FENCE = "ALTER TABLE payments ADD CONSTRAINT naive FOREIGN KEY (user_id) REFERENCES users (id)"
LONG_SECONDS = 6.0  #: of a transaction that holds a lock
SLICE = 100


@contextmanager
def connected(stage: Stage) -> Iterator[psycopg.Connection[Any]]:
    """Give a session as a person with psql has one."""
    with psycopg.connect(stage.url(), autocommit=True) as connection:
        yield connection


def anti_join(stage: Stage) -> float:
    """Run the bare query, with all that a server can do for it, and count what comes."""
    with connected(stage) as connection:
        connection.execute(SETTINGS)
        begun = time.perf_counter()
        with connection.cursor().copy(f"COPY ({BARE}) TO STDOUT") as copy:
            found = sum(1 for _ in copy.rows())
        seconds = time.perf_counter() - begun
    expected = 5 * (stage.users // 1000)
    if found != expected:
        raise RuntimeError(f"The bare query found {found} rows instead of {expected}.")
    return seconds


def not_in(stage: Stage) -> tuple[float, str]:
    """Run the query that everybody writes first on a slice, and extrapolate it to the whole table."""
    rows = SLICE if stage.users > 100_000 else 5 * stage.users
    with connected(stage) as connection:
        begun = time.perf_counter()
        connection.execute(NOT_IN.format(rows).encode())
        seconds = time.perf_counter() - begun
    return seconds / rows * 5 * stage.users, f"{rows:,} rows to {5 * stage.users:,}"


def one_statement(stage: Stage, statement: str) -> float:
    """Repair with a single statement."""
    with connected(stage) as connection:
        begun = time.perf_counter()
        connection.execute(statement.encode())
        return time.perf_counter() - begun


@contextmanager
def long_transaction(stage: Stage, table: str) -> Iterator[Callable[[], None]]:
    """Have a transaction for the time of a block that writes into a table and does not end by itself."""
    with psycopg.connect(stage.url()) as connection:
        connection.execute(f"UPDATE {table} SET seen_at = now() WHERE id = 0".encode())
        yield connection.rollback
