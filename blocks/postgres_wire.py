"""One connection in the libpq protocol with a deadline that holds, to PostgreSQL or to PgBouncer's console."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar, cast

import psycopg
from psycopg.rows import dict_row

Row = dict[str, Any]
Params = Sequence[Any] | Mapping[str, Any] | None
Connection = psycopg.AsyncConnection[Row]
T = TypeVar("T")


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run WORK to its end in a fresh event loop, also from a thread whose own loop is running."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _in_own_loop(work)
    with ThreadPoolExecutor(max_workers=1) as one:
        return one.submit(_in_own_loop, work).result()


def _in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    # asyncio.run would wait at its end for a name lookup that hangs; closing the loop does not.
    loop = asyncio.SelectorEventLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def connect(conninfo: str, seconds: float) -> Connection:
    """Log in within SECONDS, name lookup included, or raise TimeoutError."""
    async with asyncio.timeout(seconds):
        return await psycopg.AsyncConnection.connect(
            conninfo, autocommit=True, prepare_threshold=None, row_factory=dict_row
        )


async def execute(conn: Connection, sql: str, until: float, params: Params = None) -> list[Row]:
    """Give the rows of the last statement of SQL, or raise TimeoutError at the moment UNTIL of the monotonic clock."""
    task = asyncio.ensure_future(_rows(conn, sql, params))
    try:
        done, _ = await asyncio.wait({task}, timeout=max(0.0, until - time.monotonic()))
    except asyncio.CancelledError:
        await _hang_up(conn, task)
        raise
    if done:
        return task.result()
    await _hang_up(conn, task)
    raise TimeoutError


async def _rows(conn: Connection, sql: str, params: Params) -> list[Row]:
    cursor = await conn.execute(cast("Any", sql), params)
    while cursor.nextset():
        pass
    return await cursor.fetchall() if cursor.description else []


async def _hang_up(conn: Connection, task: asyncio.Future[list[Row]]) -> None:
    # psycopg answers a cancelled task with a cancel request and up to ten seconds of waiting for a server
    # that may be frozen. A socket that is shut ends the query at once, and nothing is left open.
    duplicate = socket.socket(fileno=os.dup(conn.pgconn.socket))
    with duplicate, suppress(OSError):
        duplicate.shutdown(socket.SHUT_RDWR)
    await asyncio.wait({task})
    with suppress(psycopg.Error):
        task.result()
