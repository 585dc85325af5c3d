"""Prefect's own server, with two habits changed: `python -m flows.triggers.plane.prefect_server server start ...`.

It remembers what it is. Every action of an automation makes a client of the server inside the server, and for each
Prefect (3.8) reads its logging configuration and prints all settings anew: 0.1 s in which it answers nobody.

Its writers queue. On SQLite a transaction that reads first and writes then fails when another wrote in between; the
client is told 503 and comes back after 2 s, 4 s, 8 s. Here it waits at its beginning, for milliseconds.

Any other Prefect server serves Salvor as well; on PostgreSQL the second does not arise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import prefect.server.api.server as prefect_server
from fastapi import FastAPI
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

Transaction = AbstractAsyncContextManager[AsyncSessionTransaction]


def remembering(create: Callable[..., FastAPI]) -> Callable[..., FastAPI]:
    """Ask CREATE only once for the application that runs; what is asked for with settings is another matter."""
    known: list[FastAPI] = []

    def create_app(*args: object, **settings: object) -> FastAPI:
        if args or settings:
            return create(*args, **settings)
        if not known:
            known.append(create())
        return known[0]

    return create_app


def queueing(begin: Callable[..., Transaction]) -> Callable[..., Transaction]:
    """Let every transaction that BEGIN begins take the writer's turn first."""

    def begin_transaction(self: AioSqliteConfiguration, session: AsyncSession, **_: bool) -> Transaction:
        return begin(self, session, with_for_update=True)

    return begin_transaction


def main() -> None:
    """Be the `prefect` command."""
    prefect_server.create_app = remembering(prefect_server.create_app)
    AioSqliteConfiguration.begin_transaction = queueing(  # type: ignore[assignment,method-assign]
        AioSqliteConfiguration.begin_transaction
    )
    from prefect.cli import app  # noqa: PLC0415  # after the changes

    sys.argv[0] = "prefect"
    app()


if __name__ == "__main__":
    main()
