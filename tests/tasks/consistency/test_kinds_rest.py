"""Stuck work, missing and invalid values, sequences, indexes, invariants: what is found, and what a repair writes."""

from __future__ import annotations

import psycopg
import pytest

from tests.tasks.consistency.ground import Ground


def test_a_row_is_missing_what_is_null_or_blank(ground: Ground) -> None:
    """Text without a visible character is empty, and so is NULL of any type; a zero and an empty list are values."""
    ground.sql("CREATE TABLE t (id int PRIMARY KEY, word varchar(9), n int, j json)")
    ground.sql(r"INSERT INTO t VALUES (1, 'a', 0, '[]'), (2, E' \n', 1, '1'), (3, NULL, 1, '1'), (4, 'a', 1, NULL)")
    missing = ground.check(kind="missing", table="t", columns=["word", "n", "j"])
    assert {key[0] for key in ground.found(missing)} == {"2", "3", "4"}


def test_an_invalid_row_is_set_right(ground: Ground) -> None:
    """Only rows for which all conditions hold get the new values, each in the type of its column."""
    ground.sql("CREATE TABLE t (id int PRIMARY KEY, tier text, ok boolean, n numeric, at timestamptz)")
    ground.sql(
        "INSERT INTO t VALUES (1, 'free', true, 1, NULL), (2, 'free', false, 2, NULL), (3, 'paid', true, 3, NULL)"
    )
    when = [{"column": "tier", "holds": "equal", "value": "free"}, {"column": "ok", "holds": "equal", "value": True}]
    values = {"tier": "paid", "ok": False, "n": 1.5, "at": "2026-01-02 03:04:05+00"}
    check = ground.check(kind="invalid", table="t", when=when, repair="set", values=values)
    assert list(ground.found(check).items()) == [(("1",), "tier free, ok true, n 1, at NULL")]
    ground.repaired(check)
    assert ground.sql("SELECT tier, ok, n::text, at::text FROM t ORDER BY id") == [
        ("paid", False, "1.5", "2026-01-02 03:04:05+00"), ("free", False, "2", None), ("paid", True, "3", None),
    ]  # fmt: skip


def test_a_null_that_the_table_does_not_take_is_reported_and_left(ground: Ground) -> None:
    """The database would refuse the whole batch for it; the plan says so, and the other rows are put right."""
    ground.sql("CREATE TABLE t (id int PRIMARY KEY, w text NOT NULL); CREATE TABLE s (id int PRIMARY KEY, w text)")
    ground.sql("INSERT INTO t VALUES (1, 'a'), (2, 'a'); INSERT INTO s VALUES (1, NULL), (2, 'b')")
    facts = {"kind": "mismatch", "table": "t", "source": "s", "join": {"id": "id"}, "columns": {"w": "w"}}
    assert set(ground.found(ground.check(**facts))) == {("1",), ("2",)}
    check = ground.check(**facts, repair="copy")
    assert "t.w is NOT NULL: where s.w is NULL, the row is left as it is." in check.notes
    ground.repaired(check)
    assert ground.sql("SELECT id, w FROM t ORDER BY id") == [(1, "a"), (2, "b")]
    assert ground.look(check).rows == [(("1",), "w a, and NULL in s")]


@pytest.mark.parametrize("minutes", [15, 30])
def test_stuck_work_is_begun_again_or_given_up(ground: Ground, minutes: int) -> None:
    """After so many minutes, or without a beginning, it is reset and counted; the last attempt gives it up."""
    ground.sql("CREATE TYPE state AS ENUM ('queued', 'processing', 'failed', 'done')")
    ground.sql(
        "CREATE TABLE job (id int PRIMARY KEY, state state, begun timestamptz, tries smallint, error varchar(99))"
    )
    ground.sql(
        "INSERT INTO job SELECT n, 'processing', now() - make_interval(mins => 20 * n), n FROM generate_series(0, 3) n"
    )
    ground.sql("INSERT INTO job VALUES (4, 'processing', NULL, NULL), (5, 'done', '2020-01-01', 1)")
    check = ground.check(
        kind="stuck", table="job", column="state", since="begun", after_minutes=minutes, reset_to="queued",
        attempts="tries", max_attempts=3, reason_column="error", reason="{minutes} minutes are enough", repair="reset",
    )  # fmt: skip
    expected = {"1", "2", "3", "4"} if minutes == 15 else {"2", "3", "4"}
    assert {key[0] for key in ground.found(check)} == expected
    ground.repaired(check)
    assert ground.found(check) == {}
    said = f"{minutes} minutes are enough"
    after = {row[0]: row[1:] for row in ground.sql("SELECT id, state::text, tries, error FROM job ORDER BY id")}
    assert after[0] == ("processing", 0, None)
    assert after[1] == (("queued", 2, said) if minutes == 15 else ("processing", 1, None))
    assert [after[number] for number in (2, 3, 4, 5)] == [
        ("failed", 3, said), ("failed", 4, said), ("queued", 1, said), ("done", 1, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("made", "rows", "called", "after"),
    [
        ("id bigserial PRIMARY KEY", [1, 2], 2, (False, 3)),
        ("id bigserial PRIMARY KEY", [1, 7], 2, (True, 8)),
        ("id bigserial PRIMARY KEY", [1], 0, (True, 2)),
        ("id bigserial PRIMARY KEY", [], 0, (False, 1)),
        ("id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY", [5], 1, (True, 6)),
        ("id bigint PRIMARY KEY DEFAULT nextval('odd')", [1, 2], 1, (False, 3)),
        ("id bigint PRIMARY KEY DEFAULT nextval('odd')", [1, 8], 1, (True, 9)),
        ("id bigint PRIMARY KEY DEFAULT nextval('odd')", [1, 9], 1, (True, 11)),
        ("id bigint PRIMARY KEY DEFAULT nextval('down')", [-1, 4], 1, (False, -2)),
    ],
)
def test_a_sequence_is_behind_when_it_would_give_a_value_again(
    ground: Ground, made: str, rows: list[int], called: int, after: tuple[bool, int]
) -> None:
    """It is set past the largest value and keeps its step; one that is not behind is left alone."""
    ground.sql("CREATE SEQUENCE odd INCREMENT 2; CREATE SEQUENCE down INCREMENT -1")
    ground.sql(f'CREATE TABLE "T {{%s}}" ({made})')
    for row in rows:
        ground.sql(f'INSERT INTO "T {{%s}}" OVERRIDING SYSTEM VALUE VALUES ({row})')
    check = ground.check(kind="sequence", table="T {%s}", repair="advance")
    assert check.table
    name = check.table.columns["id"].sequence
    for _ in range(called):
        ground.connection.execute("SELECT nextval(%s)", [name])
    behind, then = after
    assert bool(ground.look(check).rows) is behind
    ground.repaired(check)
    assert ground.look(check).rows == []
    assert ground.connection.execute("SELECT nextval(%s)", [name]).fetchall() == [(then,)]


def test_every_index_is_compared_with_its_table(ground: Ground) -> None:
    """Sound ones are not evidence, in any schema and of every partition; one whose order no longer holds is."""
    ground.sql(
        """
        CREATE SCHEMA "My App";
        CREATE TABLE "My App".t (id int PRIMARY KEY, word text) PARTITION BY RANGE (id);
        CREATE TABLE "My App".t1 PARTITION OF "My App".t FOR VALUES FROM (0) TO (9);
        CREATE FUNCTION backwards(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT btint4cmp($1, $2)';
        CREATE OPERATOR CLASS turned FOR TYPE int USING btree AS
            OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 backwards(int, int);
        CREATE INDEX "turned %s" ON "My App".t1 (id turned);
        INSERT INTO "My App".t SELECT n, 'w' FROM generate_series(1, 8) n;
        """
    )
    check = ground.check(kind="index", table="My App.t")
    assert ground.look(check).rows == []
    # As when the collation of the operating system changes below an index.
    ground.sql(
        "CREATE OR REPLACE FUNCTION backwards(int, int) RETURNS int LANGUAGE sql IMMUTABLE"
        " AS 'SELECT btint4cmp($2, $1)'"
    )
    ((name,), said), *others = ground.look(check).rows
    assert (name, others) == ('"My App"."turned %s"', [])
    assert "item order invariant violated" in said


def test_the_rows_of_an_invariant_are_its_evidence(ground: Ground) -> None:
    """Each row is shown with the names of its columns; a query may end in a semicolon or in a comment."""
    query = 'SELECT 1 AS found, \'%s {}\' AS "a""b", NULL AS nothing -- said once;'
    (row,) = ground.look(ground.check(kind="invariant", query=query)).rows
    assert row == ((), '{"found":1,"a\\"b":"%s {}","nothing":null}')
    assert ground.look(ground.check(kind="invariant", query="SELECT 1 WHERE false ; ")).finding.holds


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT 1; DROP TABLE kept", "cannot insert multiple commands"),
        ("SELECT 1) AS found) TO STDOUT; COMMIT; DROP TABLE kept; COPY (SELECT (1", "syntax error"),
        ("SELECT 1) AS q; DELETE FROM kept; SELECT 1 FROM (SELECT 1", "syntax error"),
        ("COMMIT; DROP TABLE kept; SELECT 1", "cannot insert multiple commands"),
        ("COMMIT", "syntax error"),
        ("COPY kept TO PROGRAM 'true'", "syntax error"),
        ("DELETE FROM kept RETURNING id", "syntax error"),
        ("WITH gone AS (DELETE FROM kept RETURNING id) SELECT * FROM gone", "data-modifying"),
        ("SELECT id FROM kept FOR UPDATE", "read-only"),
        ("SELECT grow()", "read-only"),
        ("SELECT 1 /* no end", "unterminated"),
        ("SELECT nothing FROM kept", 'column "nothing" does not exist'),
    ],
)
def test_an_invariant_cannot_write(grounds: str, query: str, said: str) -> None:
    """What is not one SELECT that reads is said to be none, and the look goes on with the next rule."""
    with psycopg.connect(grounds, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (id int); TRUNCATE kept; INSERT INTO kept VALUES (7)")
        connection.execute(
            "CREATE OR REPLACE FUNCTION grow() RETURNS int LANGUAGE sql AS 'INSERT INTO kept VALUES (8) RETURNING id'"
        )
    with psycopg.connect(grounds) as connection:
        connection.read_only = True
        ground = Ground(connection)
        seen = ground.look(ground.check(kind="invariant", query=query)).finding
        assert said in seen.unseen
        assert seen.holds is False
        assert ground.look(ground.check(kind="invariant", query="SELECT id FROM kept")).rows == [((), '{"id":7}')]
    with psycopg.connect(grounds, autocommit=True) as connection:
        assert connection.execute("SELECT id FROM kept").fetchall() == [(7,)]
        connection.execute("DROP TABLE kept; DROP FUNCTION grow")
