"""Asking and telling PostgreSQL, with deadlines that hold."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import struct
import time
from contextlib import contextmanager

import psycopg
import pytest

from blocks.postgres_session import ask, ask_all
from tests.blocks.listeners import listener
from tests.blocks.servers import PASSWORD, free_port

#: libpq cannot give up before two seconds have passed; ours has to.
LIBPQ_MINIMUM = 2.0


def one(conninfo: str, sql: str = "SELECT 1 AS one", deadline: float = 1.0):
    return ask_all({"n1": (conninfo, sql)}, deadline)["n1"]


@contextmanager
def frozen(server):
    pids = server.pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def error_message(sqlstate: str, text: str) -> bytes:
    fields = b"".join(k + v.encode() + b"\0" for k, v in [(b"S", "FATAL"), (b"C", sqlstate), (b"M", text)]) + b"\0"
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


def test_an_answer_holds_the_rows_by_column(db):
    """A server that answers gives its rows as dictionaries."""
    answer = asyncio.run(ask(db.conninfo, "SELECT %s::int AS n, 'x' AS t", 1.0, [7]))
    assert (answer.kind, answer.rows, answer.problem) == ("answered", [{"n": 7, "t": "x"}], "")


def test_no_listener_is_refused():
    """A host without a listener is told from a host that is silent."""
    answer = one(f"host=127.0.0.1 port={free_port()} user=x")
    assert answer.kind == "refused"
    assert "not listening" in answer.problem


def test_a_wrong_password_is_denied_and_never_quoted(db):
    """A wrong secret is a setting to mend, and the sentence does not hold it."""
    answer = one(db.conninfo.replace(PASSWORD, "wrong-Secret"))
    assert answer.kind == "denied"
    assert "correct user, password" in answer.problem
    assert "wrong-Secret" not in answer.problem


def test_a_missing_database_is_denied(db):
    """A wrong dbname says which one does not exist."""
    answer = one(db.cluster.conninfo("n1", dbname="nowhere"))
    assert answer.kind == "denied"
    assert '"nowhere" does not exist' in answer.problem


def test_a_name_that_does_not_resolve_is_silent(db):
    """An unknown host name is said to be one."""
    answer = one(db.conninfo.replace("127.0.0.1", "nowhere.invalid"), deadline=3.0)
    assert answer.kind == "silent"


def test_a_server_that_is_starting_is_alive():
    """The server's refusal while it starts is no login failure."""
    with listener(error_message("57P03", "the database system is starting up")) as conninfo:
        assert one(conninfo).kind == "starting"


def test_a_server_that_is_starting_is_known_in_any_language():
    """A server with lc_messages of its own says it in words that we do not know, but with the same code."""
    with listener(error_message("57P03", "le système de bases de données se lance")) as conninfo:
        assert one(conninfo).kind == "starting"


def test_another_refusal_in_another_language_is_denied():
    """Only 57P03 means starting, whatever the words."""
    with listener(error_message("28000", "authentification échouée")) as conninfo:
        assert one(conninfo).kind == "denied"


def test_a_mute_listener_is_silent_before_libpq_would_notice():
    """The deadline covers the login, and may be a fraction of a second."""
    with listener(None) as conninfo:
        began = time.monotonic()
        answer = one(conninfo, deadline=0.2)
        assert time.monotonic() - began < LIBPQ_MINIMUM
    assert answer.kind == "silent"
    assert "within 0.2 s" in answer.problem


def test_a_frozen_server_is_silent_at_the_deadline(db):
    """A stopped server accepts connections in its kernel and answers nothing."""
    with frozen(db):
        began = time.monotonic()
        answer = one(db.conninfo, deadline=0.2)
        assert time.monotonic() - began < LIBPQ_MINIMUM
    assert answer.kind == "silent"


def test_a_server_that_freezes_in_the_middle_of_a_query_is_silent_at_the_deadline(db):
    """Psycopg alone would wait ten seconds for the cancel request of a frozen server."""

    async def freeze_while_asked():
        asked = asyncio.ensure_future(ask(db.conninfo, "SELECT pg_sleep(30)", 1.0))
        await asyncio.sleep(0.3)
        with frozen(db):
            return await asked

    began = time.monotonic()
    answer = asyncio.run(freeze_while_asked())
    assert time.monotonic() - began < 3.0
    assert answer.kind == "silent"
    assert "took the question" in answer.problem


def test_a_slow_query_ends_on_the_server_too(db):
    """What nobody waits for any more does not go on burning."""
    one(db.conninfo, "SELECT pg_sleep(30) /* orphan */", deadline=0.2)
    for _ in range(100):
        left = db.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%orphan%' AND state = 'active'")[0][0]
        if left == 1:  # this very question
            return
        time.sleep(0.05)
    pytest.fail("the query is still running")


def test_nothing_is_left_open(db):
    """Fifty deadlines leave no socket behind, even before the garbage collector looks."""
    with listener(None) as mute:
        questions = {f"mute{i}": (mute, "SELECT 1") for i in range(25)}
        questions |= {f"slow{i}": (db.conninfo, "SELECT pg_sleep(9)") for i in range(5)}
        ask_all(questions, 0.3)
        gc.collect()
        gc.disable()
        try:
            before = sockets()
            ask_all(questions, 0.3)
            assert sockets() <= before + 30  # the listener's own ends
            assert own_sockets_to(mute) == 0
        finally:
            gc.enable()


def sockets() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not walked


def own_sockets_to(conninfo: str) -> int:
    port = int(psycopg.conninfo.conninfo_to_dict(conninfo)["port"])
    count = 0
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - a descriptor may be gone when it is looked at
        try:
            end = socket.socket(fileno=os.dup(int(number)))
        except OSError:
            continue
        with end:
            try:
                count += end.getpeername()[1] == port
            except (OSError, IndexError, TypeError):
                continue
    return count


def test_every_node_is_asked_at_the_same_time(db):
    """Three silent nodes cost one deadline, not three, and do not hold up the one that answers."""
    with listener(None) as mute:
        began = time.monotonic()
        answers = ask_all({"a": (mute, "SELECT 1"), "b": (mute, "SELECT 1"), "c": (mute, "SELECT 1"),
                           "d": (db.conninfo, "SELECT 1 AS one")}, 0.6)  # fmt: skip
        assert time.monotonic() - began < 1.5
    assert [a.kind for a in answers.values()] == ["silent", "silent", "silent", "answered"]


def test_it_can_be_asked_from_a_thread_whose_loop_is_running(db):
    """A synchronous task called from an async flow may ask too."""

    async def inside() -> str:
        return one(db.conninfo).kind

    assert asyncio.run(inside()) == "answered"
