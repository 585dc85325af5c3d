"""Asking and telling PostgreSQL, with deadlines that hold."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import struct
import threading
import time
from contextlib import contextmanager

import psycopg
import pytest

from blocks.errors import Ambiguous, Misconfigured, Transient
from blocks.postgres_session import StatementRefused, ask, ask_all, run_sql
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


@contextmanager
def listener(answer: bytes | None):
    """Accept connections and send ANSWER to whatever is said; None says nothing for ever."""
    with socket.socket() as ear:
        ear.bind(("127.0.0.1", 0))
        ear.listen()
        opened = []

        def serve():
            while True:
                try:
                    mouth, _ = ear.accept()
                except OSError:
                    return
                opened.append(mouth)
                if answer is not None:
                    mouth.recv(1000)
                    mouth.sendall(answer)
                    mouth.close()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"host=127.0.0.1 port={ear.getsockname()[1]} user=x dbname=x sslmode=disable gssencmode=disable"
        finally:
            ear.shutdown(socket.SHUT_RDWR)
            for mouth in opened:
                mouth.close()


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


def test_a_write_that_could_not_connect_was_never_sent():
    """No connection means that asking again is safe."""
    with pytest.raises(Transient, match="Nothing was sent"):
        run_sql(f"host=127.0.0.1 port={free_port()} user=x", "SELECT 1", deadline=1)
    with listener(None) as mute, pytest.raises(Transient, match="nothing was sent"):
        run_sql(mute, "SELECT 1", deadline=0.2)


def test_a_write_with_a_wrong_password_is_misconfigured(db):
    """A wrong secret does not become right by trying again."""
    with pytest.raises(Misconfigured) as caught:
        run_sql(db.conninfo.replace(PASSWORD, "wrong-Secret"), "SELECT 1", deadline=1)
    assert "wrong-Secret" not in str(caught.value)


def test_a_write_that_is_not_answered_is_ambiguous(db):
    """A write past its deadline may have happened."""
    with pytest.raises(Ambiguous, match="may have happened"):
        run_sql(db.conninfo, "SELECT pg_sleep(9)", deadline=0.3)


def test_a_write_whose_backend_dies_is_ambiguous(own_db):
    """A connection lost after the statement was sent says nothing about the statement."""

    def stab():
        for _ in range(100):
            rows = own_db.sql("SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")
            if rows:
                os.kill(rows[0][0], signal.SIGKILL)
                return
            time.sleep(0.02)

    threading.Thread(target=stab).start()
    with pytest.raises(Ambiguous, match="cut off"):
        run_sql(own_db.conninfo, "SELECT pg_sleep(20)", deadline=15)


def test_a_refused_statement_names_itself_and_keeps_the_earlier_ones(db):
    """Each statement commits by itself; the one that fails says which it was and that it did nothing."""
    with pytest.raises(StatementRefused, match=r"statement 2 of 3.*already exists.*Nothing of it was done") as caught:
        run_sql(db.conninfo, "CREATE TABLE twice()", "CREATE TABLE twice()", "CREATE TABLE never()", deadline=2)
    assert caught.value.sqlstate == "42P07"
    assert db.sql("SELECT to_regclass('twice')::text, to_regclass('never')::text") == [("twice", None)]


def test_a_commit_that_no_standby_holds_is_never_a_success(db):
    """A statement_timeout would end the wait for synchronous replication with a warning and report success."""
    run_sql(db.conninfo, "CREATE TABLE held(a int)", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
            "SELECT pg_reload_conf()", deadline=2)  # fmt: skip
    try:
        time.sleep(0.2)
        with pytest.raises(Ambiguous):
            run_sql(db.conninfo, "INSERT INTO held VALUES (1)", deadline=0.5)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        time.sleep(0.5)
        assert one(db.conninfo, waiting).rows == [{"count": 1}]
    finally:
        run_sql(db.conninfo, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()", deadline=2)


def test_an_unlogged_statement_leaves_its_secret_nowhere(db):
    """A password in primary_conninfo reaches neither the log nor pg_stat_activity."""
    log = db.data / "salvor-start.log"
    run_sql(db.conninfo, "ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()", deadline=2)
    try:
        time.sleep(0.2)
        run_sql(db.conninfo, "ALTER SYSTEM SET primary_conninfo = 'password=seen'", deadline=2)
        run_sql(db.conninfo, "ALTER SYSTEM SET primary_conninfo = 'password=hidden'", deadline=2, unlogged=True)
        with pytest.raises(StatementRefused):
            run_sql(db.conninfo, "SELECT 'password=broken' FROM nowhere", deadline=2, unlogged=True)
        text = log.read_text()
    finally:
        run_sql(db.conninfo, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()", deadline=2)
    assert "password=seen" in text  # the test can see what is logged
    assert "password=hidden" not in text
    assert "password=broken" not in text
