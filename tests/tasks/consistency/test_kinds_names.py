"""Whatever tables, columns, types and values are called, they are quoted, and nothing of a rule is executed."""

from __future__ import annotations

import pytest
from psycopg import sql

from tasks.consistency.phrases import given_keys
from tests.tasks.consistency.ground import Ground

NAMES = ["User Table", "sElect", "x'; DROP TABLE kept; --", 'a"b', "100% {0} %s", "größe_😀", "$$", "\\d"]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_a_name(ground: Ground, name: str) -> None:
    """A table, its columns and its values may be called anything: each kind of rule finds its row, with evidence."""
    it, value = quoted(name), name.replace("'", "''")
    ground.sql("CREATE TABLE kept (id int)")
    ground.sql(f"CREATE TABLE {it} ({it} text PRIMARY KEY, {quoted(name[:20] + '2')} text, at timestamptz)")
    ground.sql(f"INSERT INTO {it} VALUES ('{value}', 'gone', '2020-01-01'), ('b', '{value}', NULL), ('c', NULL, NULL)")
    other = name[:20] + "2"
    equal = [{"column": name, "holds": "equal", "value": name}]
    rules = [
        {"kind": "orphan", "columns": [other], "parent": name, "parent_columns": [name], "repair": "null"},
        {"kind": "invalid", "when": equal},
        {"kind": "expired", "column": "at", "only": equal, "repair": "delete"},
    ]
    for facts in rules:
        assert set(ground.found(ground.check(table=name, **facts))) == {(name,)}, facts
    mismatch = {"kind": "mismatch", "source": name, "join": {other: name}, "columns": {other: other}}
    assert set(ground.found(ground.check(table=name, **mismatch, repair="copy"))) == {("b",)}
    assert set(ground.found(ground.check(kind="missing", table=name, columns=[other]))) == {("c",)}
    keep = {"keep": [{"column": name}], "why": name}
    assert ground.found(ground.check(kind="duplicate", table=name, columns=[other], **keep, repair="null")) == {}
    assert ground.look(ground.check(kind="index", table=name)).rows == []
    ground.repaired(ground.check(table=name, **rules[0]))
    assert ground.sql(f"SELECT {quoted(other)} FROM {it} ORDER BY 1") == [(name,), (None,), (None,)]
    assert ground.sql("SELECT to_regclass('kept')::text") == [("kept",)]


def test_the_fences_of_odd_names_can_be_put_up_and_taken_away(ground: Ground) -> None:
    """A name of 63 bytes is cut between two letters, so that a second run finds what the first has added."""
    long = "x" + "ü" * 31
    ground.sql(
        f"CREATE TABLE {quoted(long)} (id int PRIMARY KEY, {quoted(long)} int); CREATE TABLE p (id int PRIMARY KEY)"
    )
    facts = {"kind": "orphan", "table": long, "columns": [long], "parent": "p", "parent_columns": ["id"]}
    fence = ground.check(**facts, repair="null", fence=True).fence
    assert fence
    assert fence.before
    ground.connection.execute(fence.before)
    again = ground.check(**facts, repair="null", fence=True).fence
    assert again
    assert (again.name, again.before) == (fence.name, None)
    ground.connection.execute(again.after)  # type: ignore[arg-type]  # there is one
    assert ground.check(**facts, repair="null", fence=True).fence is None
    ground.connection.execute(fence.remove)
    assert ground.check(**facts, repair="null", fence=True).fence


def test_a_foreign_key_to_a_table_of_the_same_name_is_another(ground: Ground) -> None:
    """Users is not other.users: a key to the one keeps no orphans of the other out."""
    ground.sql(
        "CREATE SCHEMA other; CREATE TABLE users (id int PRIMARY KEY); CREATE TABLE other.users (id int PRIMARY KEY)"
    )
    ground.sql("CREATE TABLE t (id int PRIMARY KEY, user_id int REFERENCES users)")
    facts = {"kind": "orphan", "table": "t", "columns": ["user_id"], "parent_columns": ["id"], "fence": True}
    assert ground.check(**facts, parent="users").fence is None
    fence = ground.check(**facts, parent="other.users").fence
    assert fence
    assert fence.before


def test_types_of_every_sort_are_compared_and_given_back(ground: Ground) -> None:
    """Domains, enums, precision, uuid, bytes, arrays and padded text are keys and values as well."""
    ground.sql(
        """
        CREATE DOMAIN mail AS text NOT NULL; CREATE DOMAIN long_mail AS mail; CREATE TYPE mood AS ENUM ('sad', 'ok');
        CREATE TABLE t (a uuid, b bytea, c char(4), m mood, at timestamptz(3), e long_mail, n numeric(9,2), l int[],
            PRIMARY KEY (a, b, c, m, at, e, n, l));
        CREATE TABLE p (e text PRIMARY KEY, at timestamptz);
        INSERT INTO t VALUES ('00000000-0000-0000-0000-000000000001', '\\x00ff', 'ab', 'sad',
            '2026-01-01 00:00:00.123Z', 'x@y', 1.50, '{1,NULL}');
        """
    )
    facts = {"kind": "orphan", "table": "t", "columns": ["e"], "parent": "p", "parent_columns": ["e"]}
    check = ground.check(**facts, repair="quarantine")
    key = ("00000000-0000-0000-0000-000000000001", "\\x00ff", "ab", "sad", "2026-01-01 00:00:00.123+00", "x@y", "1.50",
           "{1,NULL}")  # fmt: skip
    assert ground.found(check) == {key: "e x@y"}
    assert check.table
    back = sql.SQL("SELECT count(*) FROM t JOIN {} USING (a, b, c, m, at, e, n, l)").format(
        given_keys(check.table, [key])
    )
    assert ground.connection.execute(back).fetchall() == [(1,)]


def test_json_is_compared_as_text_and_it_is_said(ground: Ground) -> None:
    """Json has no equality: duplicates, mismatches and conditions compare what was written, and the plan says so."""
    ground.sql("CREATE TABLE t (id int PRIMARY KEY, j json); CREATE TABLE s (id int PRIMARY KEY, j json)")
    ground.sql("""INSERT INTO t VALUES (1, '{"a":1}'), (2, '{"a":1}'), (3, '{"a": 1}'), (4, NULL)""")
    ground.sql("""INSERT INTO s VALUES (1, '{"a":1}'), (2, '{"a": 1}'), (3, NULL), (4, NULL)""")
    double = ground.check(kind="duplicate", table="t", columns=["j"], keep=[{"column": "id"}], why="x", repair="null")
    assert set(ground.found(double)) == {("2",)}
    differ = {"kind": "mismatch", "table": "t", "source": "s", "join": {"id": "id"}, "columns": {"j": "j"}}
    check = ground.check(**differ, repair="copy")
    assert set(ground.found(check)) == {("2",), ("3",)}
    equal = [{"column": "j", "holds": "equal", "value": '{"a":1}'}]
    assert set(ground.found(ground.check(kind="invalid", table="t", when=equal))) == {("1",), ("2",)}
    said = "t.j is json: it is compared as text, so other spacing differs."
    assert said in double.notes
    assert said in check.notes
    ground.repaired(check)
    assert ground.found(check) == {}


def test_partitioned_tables_are_one_table(ground: Ground) -> None:
    """Rows are found by the whole primary key, the partition's part with it, and a foreign key is added to all."""
    ground.sql(
        """
        CREATE TABLE p (id int PRIMARY KEY);
        CREATE TABLE t (day int, id int, p_id int, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t2 PARTITION OF t DEFAULT;
        INSERT INTO p VALUES (1); INSERT INTO t VALUES (1, 1, 1), (2, 1, 9), (50, 1, 9);
        """
    )
    check = ground.check(
        kind="orphan", table="t", columns=["p_id"], parent="p", parent_columns=["id"], repair="quarantine", fence=True
    )
    assert ground.found(check) == {("2", "1"): "p_id 9", ("50", "1"): "p_id 9"}
    assert check.fence
    assert check.fence.before
    ground.connection.execute(check.fence.before)
    ground.repaired(check)
    ground.connection.execute(check.fence.after)  # type: ignore[arg-type]  # there is one
    assert ground.sql("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated") == [(3,)]


def test_what_has_no_primary_key_is_reported(ground: Ground) -> None:
    """A table without one and a view: their wrong rows are counted and shown, without a key."""
    ground.sql("CREATE TABLE t (n int, p_id int); CREATE VIEW v AS SELECT * FROM t; CREATE TABLE p (id int)")
    ground.sql("INSERT INTO t VALUES (1, 5), (1, 5), (2, NULL)")
    for name in ("t", "v"):
        check = ground.check(kind="orphan", table=name, columns=["p_id"], parent="p", parent_columns=["id"])
        assert ground.look(check).rows == [((), "p_id 5"), ((), "p_id 5")]


def test_evidence_is_short(ground: Ground) -> None:
    """Of a text of a megabyte the beginning is shown."""
    ground.sql("CREATE TABLE t (id int PRIMARY KEY, w text); INSERT INTO t VALUES (1, repeat('x', 1000000))")
    check = ground.check(kind="invalid", table="t", when=[{"column": "w", "holds": "present"}])
    assert ground.found(check) == {("1",): "w " + "x" * 200}
