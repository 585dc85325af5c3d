"""What somebody else commits between the lock on a wrong row and its change."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from blocks.live_catalog import read
from blocks.rules import Rule
from tasks.consistency import stores
from tasks.consistency.changes import Batch, change
from tasks.consistency.compile import compiled, named
from tests.tasks.consistency.ground import rule
from tests.tasks.consistency.stage import Stage


class Meddled(psycopg.Cursor[tuple[Any, ...]]):
    """Lets somebody else commit right after the rows were locked."""

    url, statement = "", ""

    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        done = super().execute(query, *arguments, **options)
        if isinstance(query, psycopg.sql.Composed) and "FOR UPDATE" in query.as_string():
            with psycopg.connect(self.url, autocommit=True, options="-c lock_timeout=300") as other:
                other.execute(self.statement.encode())
        return done


def meddled(stage: Stage, wanted: Rule, statement: str) -> Any:
    """Repair row by the rule while somebody else commits a statement; give what became of the rows."""
    Meddled.url, Meddled.statement = stage.url, statement
    with psycopg.connect(stage.url) as connection:
        stores.make(connection)
        catalog = read(connection, "public", named([wanted]))
        (check,), _ = compiled([wanted], catalog)
        assert check.table is not None
        assert check.wrong is not None
        find = psycopg.sql.SQL("SELECT id::text FROM t WHERE {}").format(check.wrong)
        keys = connection.execute(find).fetchall()
        connection.commit()
        connection.cursor_factory = Meddled
        return change(connection, Batch("run", check, check.table, catalog, check.wrong), keys)


def test_a_source_that_is_deleted_meanwhile_is_not_copied_as_null(stage):
    """The row has no counterpart any more, so it is no mismatch."""
    stage.clear("CREATE TABLE t (id int PRIMARY KEY, w text); CREATE TABLE s (id int PRIMARY KEY, w text)")
    stage.sql("INSERT INTO t VALUES (1, 'a'); INSERT INTO s VALUES (1, 'b')")
    wanted = rule(kind="mismatch", table="t", source="s", join={"id": "id"}, columns={"w": "w"}, repair="copy")
    done = meddled(stage, wanted, "DELETE FROM s")
    assert (done.account.repaired, done.account.skipped, done.right) == (0, 0, [("1",)])
    assert stage.rows("t") == [(1, "a")]


def test_a_parent_that_comes_back_meanwhile_is_seen(stage):
    """The row points to something again, so it stays."""
    stage.clear("CREATE TABLE t (id int PRIMARY KEY, s int); CREATE TABLE s (id int PRIMARY KEY)")
    stage.sql("INSERT INTO t VALUES (1, 7), (2, 8)")
    wanted = rule(kind="orphan", table="t", columns=["s"], parent="s", parent_columns=["id"], repair="quarantine")
    done = meddled(stage, wanted, "INSERT INTO s VALUES (7)")
    assert (done.account.quarantined, done.right) == (1, [("1",)])
    assert stage.rows("t") == [(1, 7)]


@pytest.mark.parametrize("repair", ["quarantine", "null"])
def test_the_row_that_stays_goes_meanwhile(stage, repair):
    """One row of each key is left, whoever else deletes one of them."""
    stage.clear("CREATE TABLE t (id int PRIMARY KEY, w text)")
    stage.sql("INSERT INTO t VALUES (1, 'a'), (2, 'a')")
    wanted = rule(kind="duplicate", table="t", columns=["w"], keep=[{"column": "id"}], why="older", repair=repair)
    done = meddled(stage, wanted, "DELETE FROM t WHERE id = 1")
    assert done.right == [("2",)]
    assert stage.rows("t") == [(2, "a")]


def test_the_row_that_stays_cannot_go_once_it_is_held(stage):
    """Whoever wants to delete it has to wait until the others are gone."""
    stage.clear("CREATE TABLE t (id int PRIMARY KEY, w text)")
    stage.sql("INSERT INTO t VALUES (1, 'a'), (2, 'a')")
    wanted = rule(kind="duplicate", table="t", columns=["w"], keep=[{"column": "id"}], why="older", repair="quarantine")
    with psycopg.connect(stage.url) as connection:
        stores.make(connection)
        catalog = read(connection, "public", named([wanted]))
        (check,), _ = compiled([wanted], catalog)
        assert check.table is not None
        assert check.wrong is not None
        done = change(connection, Batch("run", check, check.table, catalog, check.wrong), [("2",)])
        assert done.account.quarantined == 1
        with (
            psycopg.connect(stage.url, options="-c lock_timeout=100") as other,
            pytest.raises(psycopg.OperationalError),
        ):
            other.execute("DELETE FROM t WHERE id = 1")
    assert stage.rows("t") == [(1, "a")]
