"""Ask PostgreSQL something, or tell it something, and never wait longer than was said.

libpq's own shortest connect timeout is two seconds and a frozen server holds a query for ever; here the
deadline covers name lookup, connection, login and query together, and may be a fraction of a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import BaseModel, ConfigDict

from blocks.errors import Ambiguous, Misconfigured, SalvorError, Transient
from blocks.postgres_knock import refusal_code
from blocks.postgres_refusal import Kind, explain_connect, explain_query, mentions_login
from blocks.postgres_wire import Connection, Params, Row, connect, execute, finish

__all__ = [
    "Answer",
    "Row",
    "StatementRefused",
    "address",
    "ask",
    "ask_all",
    "ask_each",
    "finish",
    "read_only",
    "run_sql",
    "whoever_writes",
    "write",
]

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
        conn = await connect(_with_options(conninfo, f"-c statement_timeout={milliseconds}"), deadline)
    except TimeoutError:
        return Answer(kind="silent", problem=f"{where} did not answer within {deadline:g} s.")
    except psycopg.Error as error:
        kind, problem = await _explain_login(error, conninfo, until)
        return Answer(kind=kind, problem=f"{where} {problem}")
    try:
        rows = await execute(conn, sql, until, params)
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


def address(conninfo: str) -> str:
    """Name the server of CONNINFO for a sentence, without its secrets."""
    parts = conninfo_to_dict(conninfo)
    return f"PostgreSQL at {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


def read_only(conninfo: str) -> str:
    """Say the same address for a session that cannot write."""
    return _with_options(conninfo, "-c default_transaction_read_only=on")


def whoever_writes(conninfos: list[str]) -> str:
    """Give one address for all of CONNINFOS, which leads to the one that takes writes, also after a failover."""
    parts = [conninfo_to_dict(each) for each in conninfos]
    places = {key: ",".join(str(part[key]) for part in parts) for key in ("host", "port")}
    return make_conninfo("", **parts[0] | places | {"target_session_attrs": "read-write"})


def _with_options(conninfo: str, more: str) -> str:
    options = conninfo_to_dict(conninfo).get("options") or ""
    return make_conninfo(conninfo, options=f"{options} {more}".strip())


async def _explain_login(error: psycopg.Error, conninfo: str, until: float) -> tuple[Kind, str]:
    kind, problem = explain_connect(str(error))
    if kind == "denied" and not mentions_login(problem):
        # The server's own language may hide "is starting up"; its code does not.
        with suppress(OSError):  # a TimeoutError is one
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                kind = "starting" if await refusal_code(conninfo) == "57P03" else kind
    return kind, problem


async def _connect_to_write(conninfo: str, where: str, deadline: float) -> Connection:
    try:
        return await connect(conninfo, deadline)
    except TimeoutError:
        raise Transient(f"{where} did not accept a connection within {deadline:g} s: nothing was sent.") from None
    except psycopg.Error as error:
        kind, problem = explain_connect(str(error))
        wrong = Misconfigured if kind == "denied" else Transient
        raise wrong(f"{where} {problem} Nothing was sent.") from None


async def _tell(conn: Connection, statement: str, until: float, where: str) -> list[Row]:
    try:
        return await execute(conn, statement, until)
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
