"""A connection that is held for one purpose: it breaks in the moment its server dies, long before the next probe."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import psycopg
from psycopg.pq import ConnStatus


async def until_broken(conninfo: str, deadline: float) -> bool:
    """Hold a connection until it breaks; False when there was none to hold within DEADLINE seconds."""
    try:
        async with asyncio.timeout(deadline):
            connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    except (psycopg.Error, TimeoutError):
        return False
    try:
        await _broken(connection)
    finally:
        with suppress(psycopg.Error):
            await connection.close()
    return True


async def _broken(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    loop, descriptor = asyncio.get_running_loop(), connection.fileno()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            # A reload of the server's settings makes it readable too; only an end is an end.
            with suppress(psycopg.Error):
                connection.pgconn.consume_input()
            if connection.pgconn.status != ConnStatus.OK:
                return
    finally:
        loop.remove_reader(descriptor)
