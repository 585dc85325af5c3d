"""Ask PostgreSQL something, or tell it something, and never wait longer than was said.

libpq's own shortest connect timeout is two seconds and a frozen server holds a query for ever; here the
deadline covers name lookup, connection, login and query together, and may be a fraction of a second.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Literal, TypeVar, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from pydantic import BaseModel, ConfigDict

from blocks.errors import Ambiguous, Misconfigured, SalvorError, Transient
from blocks.postgres_refusal import Kind, explain_connect, explain_query, mentions_login

Params = Sequence[Any] | Mapping[str, Any] | None
Row = dict[str, Any]
T = TypeVar("T")

# A statement that carries a password must reach neither the server's log nor pg_stat_activity.
_UNLOGGED = (
    "-c log_statement=none -c log_min_duration_statement=-1 -c log_min_duration_sample=-1 "
    "-c log_min_error_statement=panic -c track_activities=off"
)


class StatementRefused(SalvorError):  # noqa: N818 - named for what may have changed, as in errors.py
    """The database refused the statement: nothing of it was done."""

    code = 50

    def __init__(self, message: str = "", sqlstate: str = "") -> None:
        """Keep the SQLSTATE, so that an act can tell "already exists" from the rest."""
        super().__init__(message)
        self.sqlstate = sqlstate


class Answer(BaseModel):
    """What one server said, or how it failed to."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["answered", "starting", "refused", "silent", "denied"]
    rows: list[Row] = []
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether there are rows to read."""
        return self.kind == "answered"


async def ask(conninfo: str, sql: str, deadline: float, params: Params = None) -> Answer:
    """Read with SQL and give the rows, or why there are none, within DEADLINE seconds."""
    until = time.monotonic() + deadline
    where = address(conninfo)
    milliseconds = max(1, int(deadline * 1000))
    try:
        conn = await _connect(_with_options(conninfo, f"-c statement_timeout={milliseconds}"), deadline)
    except TimeoutError:
        return Answer(kind="silent", problem=f"{where} did not answer within {deadline:g} s.")
    except psycopg.Error as error:
        kind, problem = await _explain_login(error, conninfo, until)
        return Answer(kind=kind, problem=f"{where} {problem}")
    try:
        rows = await _execute(conn, sql, params, until)
    except TimeoutError:
        return Answer(kind="silent", problem=f"{where} took the question but did not answer within {deadline:g} s.")
    except psycopg.Error as error:
        kind, problem = explain_query(error)
        return Answer(kind=kind, problem=f"{where} {problem}")
    finally:
        await conn.close()
    return Answer(kind="answered", rows=rows)


async def ask_each(questions: Mapping[str, tuple[str, str]], deadline: float) -> dict[str, Answer]:
    """Ask every server at the same time; the slowest costs DEADLINE, not the sum."""
    answers = await asyncio.gather(*(ask(conninfo, sql, deadline) for conninfo, sql in questions.values()))
    return dict(zip(questions, answers, strict=True))


def ask_all(questions: Mapping[str, tuple[str, str]], deadline: float) -> dict[str, Answer]:
    """Ask every server at the same time, from code that is not async."""
    return finish(ask_each(questions, deadline))


async def write(conninfo: str, *statements: str, deadline: float, unlogged: bool = False) -> list[Row]:
    """Execute STATEMENTS one by one, each committed by itself, and give the rows of the last.

    UNLOGGED keeps them out of the server's log (needs a superuser): use it when one carries a password.
    """
    until = time.monotonic() + deadline
    where = address(conninfo)
    # Not the server's statement_timeout: it ends a wait for synchronous replication with a mere warning,
    # and the commit that no standby holds would look like a success.
    options = "-c statement_timeout=0 " + (_UNLOGGED if unlogged else "")
    conn = await _connect_to_write(_with_options(conninfo, options), where, deadline)
    rows: list[Row] = []
    try:
        for number, statement in enumerate(statements, start=1):
            rows = await _tell(conn, statement, until, f"{where}, statement {number} of {len(statements)},")
    finally:
        await conn.close()
    return rows


def run_sql(conninfo: str, *statements: str, deadline: float, unlogged: bool = False) -> list[Row]:
    """Execute STATEMENTS one by one, from code that is not async; see `write`."""
    return finish(write(conninfo, *statements, deadline=deadline, unlogged=unlogged))


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


def address(conninfo: str) -> str:
    """Name the server of CONNINFO for a sentence, without its secrets."""
    parts = conninfo_to_dict(conninfo)
    return f"PostgreSQL at {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


def _with_options(conninfo: str, more: str) -> str:
    options = conninfo_to_dict(conninfo).get("options") or ""
    return make_conninfo(conninfo, options=f"{options} {more}".strip())


async def _connect(conninfo: str, seconds: float) -> psycopg.AsyncConnection[Row]:
    async with asyncio.timeout(seconds):
        return await psycopg.AsyncConnection.connect(
            conninfo, autocommit=True, prepare_threshold=None, row_factory=dict_row
        )


async def _explain_login(error: psycopg.Error, conninfo: str, until: float) -> tuple[Kind, str]:
    kind, problem = explain_connect(str(error))
    if kind == "denied" and not mentions_login(problem):
        # The server's own language may hide "is starting up"; libpq's ping knows it by the code.
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                ping = await asyncio.to_thread(psycopg.pq.PGconn.ping, conninfo.encode())
            kind = "starting" if ping == psycopg.pq.Ping.REJECT else kind
    return kind, problem


async def _connect_to_write(conninfo: str, where: str, deadline: float) -> psycopg.AsyncConnection[Row]:
    try:
        return await _connect(conninfo, deadline)
    except TimeoutError:
        raise Transient(f"{where} did not accept a connection within {deadline:g} s: nothing was sent.") from None
    except psycopg.Error as error:
        kind, problem = explain_connect(str(error))
        wrong = Misconfigured if kind == "denied" else Transient
        raise wrong(f"{where} {problem} Nothing was sent.") from None


async def _tell(conn: psycopg.AsyncConnection[Row], statement: str, until: float, where: str) -> list[Row]:
    try:
        return await _execute(conn, statement, None, until)
    except TimeoutError:
        raise Ambiguous(
            f"{where} was sent but not answered in time: it may have happened. Look before repeating it."
        ) from None
    except psycopg.Error as error:
        sqlstate = error.sqlstate or ""
        if not sqlstate or sqlstate.startswith(("57", "08")):
            raise Ambiguous(f"{where} was cut off: it may have happened. Look before repeating it.") from None
        _, problem = explain_query(error)
        if sqlstate == "42501":
            raise Misconfigured(f"{where} {problem}") from None
        raise StatementRefused(f"{where} {problem} Nothing of it was done.", sqlstate) from None


async def _execute(conn: psycopg.AsyncConnection[Row], sql: str, params: Params, until: float) -> list[Row]:
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


async def _rows(conn: psycopg.AsyncConnection[Row], sql: str, params: Params) -> list[Row]:
    cursor = await conn.execute(cast("Any", sql), params)
    while cursor.nextset():
        pass
    return await cursor.fetchall() if cursor.description else []


async def _hang_up(conn: psycopg.AsyncConnection[Row], task: asyncio.Future[list[Row]]) -> None:
    # psycopg answers a cancelled task with a cancel request and up to ten seconds of waiting for a server
    # that may be frozen. A socket that is shut ends the query at once, and nothing is left open.
    duplicate = socket.socket(fileno=os.dup(conn.pgconn.socket))
    with duplicate, suppress(OSError):
        duplicate.shutdown(socket.SHUT_RDWR)
    await asyncio.wait({task})
    with suppress(psycopg.Error):
        task.result()
