"""Telling PostgreSQL something: what was never sent, what was refused, and what nobody knows."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from blocks.errors import Ambiguous, Misconfigured, Transient
from blocks.postgres_session import StatementRefused, ask_all, run_sql
from tests.blocks.listeners import listener
from tests.blocks.servers import PASSWORD, free_port


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


def test_a_write_has_only_the_deadline_of_its_caller(db):
    """The time-out of a look does not end a CHECKPOINT or a promotion."""
    assert ask_all({"n1": (db.conninfo, "SHOW statement_timeout")}, 1.5)["n1"].rows == [{"statement_timeout": "1500ms"}]
    assert run_sql(db.conninfo, "SHOW statement_timeout", deadline=1) == [{"statement_timeout": "0"}]


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
        assert ask_all({"n1": (db.conninfo, waiting)}, 1)["n1"].rows == [{"count": 1}]
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
