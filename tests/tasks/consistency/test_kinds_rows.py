"""Orphans, duplicates and mismatches are exactly those that a few lines of Python find in the same rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from blocks.rules import Duplicate
from tasks.consistency.checks import Check, Quarantine
from tests.tasks.consistency.ground import Ground

# The transaction is shared by the examples, each of which is rolled back.
few = settings(
    max_examples=25, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
numbers = st.none() | st.integers(0, 2)
words = st.none() | st.sampled_from(["", "a", "A", "%s", "a'; DROP TABLE child; --"])
pairs = st.lists(st.tuples(numbers, words), max_size=8)


def insert(ground: Ground, table: str, rows: list[tuple[Any, ...]]) -> None:
    places = sql.SQL(", ").join([sql.Placeholder()] * len(rows[0])) if rows else sql.SQL("")
    with ground.connection.cursor() as cursor:
        cursor.executemany(sql.SQL("INSERT INTO {} VALUES ({})").format(sql.Identifier(table), places), rows)


def numbered(rows: list[Any]) -> list[Any]:
    return [(number, *row) for number, row in enumerate(rows)]


def wrong_rows(ground: Ground, check: Check) -> set[int]:
    return {int(key[0]) for key in ground.found(check)}


def found(ground: Ground, **facts: Any) -> set[int]:
    return wrong_rows(ground, ground.check(**facts))


@pytest.fixture
def orphans(ground: Ground) -> Check:
    ground.sql("CREATE TABLE parent (a int, b text); CREATE TABLE child (id int PRIMARY KEY, a int, b text)")
    facts = {"kind": "orphan", "table": "child", "columns": ["a", "b"], "parent": "parent", "repair": "null"}
    return ground.check(**facts, parent_columns=["a", "b"])


@given(pairs, pairs)
@few
def test_orphans_of_a_composite_key(ground: Ground, orphans: Check, children: list[Any], parents: list[Any]) -> None:
    """A row whose key is nowhere among the parents is an orphan; one with a NULL in its key points nowhere."""
    with ground.example():
        insert(ground, "parent", parents)
        insert(ground, "child", rows := numbered(children))
        truth = {id_ for id_, a, b in rows if a is not None and b is not None and (a, b) not in parents}
        assert wrong_rows(ground, orphans) == truth
        ground.repaired(orphans)
        assert wrong_rows(ground, orphans) == set()


@pytest.fixture
def folders(ground: Ground) -> Check:
    ground.sql("CREATE TABLE folder (id int PRIMARY KEY, above int)")
    return ground.check(kind="orphan", table="folder", columns=["above"], parent="folder", parent_columns=["id"])


@given(st.lists(st.tuples(st.none() | st.integers(0, 9)), max_size=9))
@few
def test_orphans_of_their_own_table(ground: Ground, folders: Check, given_rows: list[Any]) -> None:
    """Rows may point to rows of the same table, to themselves, and in circles."""
    with ground.example():
        insert(ground, "folder", rows := numbered(given_rows))
        assert wrong_rows(ground, folders) == {id_ for id_, above in rows if above is not None and above >= len(rows)}


@pytest.fixture(params=["smallest", "largest"])
def duplicates(request: pytest.FixtureRequest, ground: Ground) -> Check:
    ground.sql("CREATE TABLE account (id int PRIMARY KEY, a int, b text, rank int, live boolean)")
    facts = {"kind": "duplicate", "table": "account", "columns": ["a", "b"], "why": "it is the first"}
    facts |= {"keep": [{"column": "rank", "first": request.param}, {"column": "id"}], "repair": "quarantine"}
    return ground.check(**facts, only=[{"column": "live", "holds": "equal", "value": True}])


@given(st.lists(st.tuples(numbers, words, numbers, st.booleans()), max_size=9))
@example([(1, "a", 0, True), (1, "a", None, True), (1, "a", 2, True), (1, "a", 2, True), (1, "a", 9, False)])
@few
def test_duplicates_but_the_one_that_stays(ground: Ground, duplicates: Check, given_rows: list[Any]) -> None:
    """Of the rows with the same key all but the first by `keep` are wrong; an unknown rank comes last, either way."""
    assert isinstance(duplicates.rule, Duplicate)
    assert isinstance(duplicates.change, Quarantine)
    sign = 1 if duplicates.rule.keep[0].first == "smallest" else -1
    groups: dict[Any, list[Any]] = {}
    for row in numbered(given_rows):
        if row[1] is not None and row[2] is not None and row[4]:
            groups.setdefault(row[1:3], []).append(row)
    for group in groups.values():
        group.sort(key=lambda row: (row[3] is None, sign * (row[3] or 0), row[0]))
    stays = {row[0]: group[0][0] for group in groups.values() for row in group[1:]}
    with ground.example():
        insert(ground, "account", numbered(given_rows))
        assert wrong_rows(ground, duplicates) == set(stays)
        keepers = sql.SQL("SELECT t.id, ({}) FROM account t WHERE {}").format(
            duplicates.change.keeper, duplicates.wrong
        )
        assert dict(ground.connection.execute(keepers).fetchall()) == stays
        ground.repaired(duplicates)
        assert wrong_rows(ground, duplicates) == set()


@pytest.fixture
def mismatches(ground: Ground) -> Check:
    ground.sql("CREATE TABLE copy (id int PRIMARY KEY, source int, n int, w text)")
    ground.sql("CREATE TABLE original (key int UNIQUE, n int, w text)")
    facts = {"kind": "mismatch", "table": "copy", "source": "original", "join": {"source": "key"}}
    return ground.check(**facts, columns={"n": "n", "w": "w"}, repair="copy")


@given(
    st.lists(st.tuples(numbers, numbers, words), max_size=8),
    st.dictionaries(st.integers(0, 2), st.tuples(numbers, words)),
)
@few
def test_mismatches_with_the_table_that_is_right(
    ground: Ground, mismatches: Check, mine: list[Any], theirs: dict[int, Any]
) -> None:
    """A row that has a counterpart and differs from it in any column is wrong; NULL differs from every value."""
    with ground.example():
        insert(ground, "copy", rows := numbered(mine))
        insert(ground, "original", [(key, *values) for key, values in theirs.items()])
        truth = {id_ for id_, source, *values in rows if source in theirs and tuple(values) != theirs[source]}
        assert wrong_rows(ground, mismatches) == truth
        ground.repaired(mismatches)
        assert wrong_rows(ground, mismatches) == set()
        after = ground.sql("SELECT id, n, w FROM copy ORDER BY id")
        assert after == [(id_, *theirs.get(key, tuple(rest))) for id_, key, *rest in rows]


@pytest.mark.parametrize(
    ("holds", "value", "wrong"),
    [
        ("null", None, {3}),
        ("present", None, {1, 2, 4}),
        ("empty", None, {2, 3}),
        ("equal", "a", {1}),
        ("different", "a", {2, 4}),
        ("one_of", ["a", "b%"], {1, 4}),
        ("none_of", ["a", "b%"], {2}),
        ("less", "b", {1, 2}),
        ("more", "a", {4}),
    ],
)
def test_what_a_column_holds(ground: Ground, holds: str, value: Any, wrong: set[int]) -> None:
    """Each condition picks its rows; NULL is neither equal to a value nor different from it."""
    ground.sql("CREATE TABLE t (id int PRIMARY KEY, word text)")
    insert(ground, "t", [(1, "a"), (2, " \t"), (3, None), (4, "b%")])
    when = [{"column": "word", "holds": holds, "value": value}]
    assert found(ground, kind="invalid", table="t", when=when) == wrong


def test_what_is_so_many_minutes_ago(ground: Ground) -> None:
    """Conditions on moments, expired rows and settled ones count back from the database's own time."""
    ground.sql("CREATE TABLE t (id int PRIMARY KEY, at timestamptz(3), day date, v int)")
    moments = "now() - make_interval(mins => n * 10), CURRENT_DATE - n"
    ground.sql(f"INSERT INTO t SELECT n, {moments}, 1 FROM generate_series(1, 4) n")
    ground.sql("INSERT INTO t VALUES (5, NULL, NULL, 1)")
    ground.sql("CREATE TABLE s (id int PRIMARY KEY, v int); INSERT INTO s SELECT id, 2 FROM t")
    older = [{"column": "at", "holds": "older_than_minutes", "value": 25}]
    newer = [{"column": "at", "holds": "newer_than_minutes", "value": 25.5}]
    assert found(ground, kind="invalid", table="t", when=older) == {3, 4}
    assert found(ground, kind="invalid", table="t", when=newer) == {1, 2}
    assert found(ground, kind="expired", table="t", column="at", older_than_minutes=15) == {2, 3, 4}
    assert found(ground, kind="expired", table="t", column="day", older_than_minutes=3 * 1440) == {3, 4}
    settled = {"settled_column": "at", "settled_minutes": 15}
    facts = {"kind": "mismatch", "table": "t", "source": "s", "join": {"id": "id"}, "columns": {"v": "v"}}
    assert found(ground, **facts, **settled) == {2, 3, 4, 5}
