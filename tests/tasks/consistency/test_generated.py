"""Applications of any shape: a repair leaves exactly what must be left, once, and its undo gives back what was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings

from tests.tasks.consistency.stage import Stage, conserved
from tests.tasks.consistency.worlds import BODY, Truth, World, rules_of, tables_of, truth_of, worlds

EXAMPLES = 15
OURS = """
SELECT conname FROM pg_constraint WHERE conname LIKE 'salvor%'
UNION ALL SELECT relname FROM pg_class WHERE relkind IN ('i', 'I') AND relname LIKE 'salvor%'
"""


def rows(stage: Stage, name: str, columns: str) -> set[Any]:
    quoted = name.replace('"', '""')
    return set(stage.sql(f'SELECT {columns} FROM "{quoted}" t'))


def assert_true(stage: Stage, world: World) -> None:
    """Every row is there that must be, with every value that it must have, and no other."""
    truth, (parents, children, grand) = truth_of(world), world.tables
    assert rows(stage, parents, "t.*") == {(*world.key_of(n), *rest) for n, rest in truth.parents.items()}
    assert rows(stage, children, "id, t::text") == {(number, text) for number, text in written(stage, world, truth)}
    assert {row[0] for row in rows(stage, grand, "id")} == {world.boss_id(n) for n in truth.grandchildren}


def written(stage: Stage, world: World, truth: Truth) -> Iterator[tuple[int, str]]:
    """Write the children as PostgreSQL does, with the json as it was and the column that is generated."""
    for number, (pointer, state) in truth.children.items():
        values = (number, *pointer, state, BODY, state.upper() if state is not None else None)
        row = ", ".join("%s::text" for _ in values)
        yield number, stage.sql(f"SELECT ROW({row})::text", *values)[0][0]


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(world=worlds())
def test_a_repair_finds_all_touches_nothing_else_and_can_be_taken_back(stage: Stage, world: World) -> None:
    """Against a truth worked out in Python; then again, which finds nothing, and back, to identical tables."""
    stage.clear(tables_of(world))
    stage.rules = rules_of(world)
    before = stage.hashes()
    report = stage.repair()
    assert report.outcome in {"Recovered", "NothingToDo"}, report
    assert_true(stage, world)
    if report.outcome == "Recovered":
        assert conserved(report)
        again = stage.repair()
        assert again.outcome == "NothingToDo", again
        undone = stage.undo(report)
        assert undone.outcome == "Recovered", undone
        assert stage.undo(report).outcome == "NothingToDo"
    assert stage.hashes() == before
    assert stage.sql(OURS) == []
