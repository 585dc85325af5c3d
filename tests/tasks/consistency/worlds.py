"""Small applications of any shape with faults of which the truth is known: what must be left after a repair."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from psycopg import sql

NAMES = ("parents", "User Table", "sElect", "x'; DROP TABLE y; --", "a%sb", "ü{}", '"quoted"')
COLUMNS = ("a", "Key Of", "or'der", "100%", "sElect", "{b}")
BODY = '{"a": 1,  "a": 2}'  #: json, which keeps spaces and doubled keys
STATES = (None, "open", "it's done", "")
#: What becomes of a row whose twin stays: its children are led to the twin, follow it, or it stays without the key.
TWINS = ("repoint", "follow", "null")


@dataclass(frozen=True)
class World:
    """Parents of whom some are twins, children who point to them or nowhere, and a tree of grandchildren."""

    tables: tuple[str, str, str]
    key: str  #: of the parents: int, text, or composite
    key_names: tuple[str, str]
    text_ids: bool  #: of the grandchildren
    partitioned: bool  #: the children
    parents: tuple[tuple[int, str | None, str | None], ...]  #: number, twin, state
    children: tuple[tuple[int | None, int | None, str | None], ...]  #: parent; which part of the key is NULL; state
    grandchildren: tuple[tuple[int | None, int | None], ...]  #: child, boss
    twins: str
    orphans: str  #: what becomes of a child whose parent is not there: quarantine or null
    fences: tuple[bool, bool, bool]
    order: tuple[int, ...]

    @property
    def key_columns(self) -> tuple[str, ...]:
        return self.key_names if self.key == "composite" else self.key_names[:1]

    def key_of(self, number: int) -> tuple[Any, ...]:
        if self.key == "composite":
            return (number // 2, f"p'{number % 2}")
        return (number,) if self.key == "int" else (f'k"{number}',)

    def pointer(self, parent: int | None, part: int | None) -> tuple[Any, ...]:
        if parent is None:
            return (None,) * len(self.key_columns)
        key = list(self.key_of(parent))
        if part is not None and self.key == "composite":
            key[part] = None
        return tuple(key)

    def boss_id(self, number: int | None) -> Any:
        return number if number is None or not self.text_ids else f"g%{number}"


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw one."""
    some = st.integers(0, 5)
    missing = st.one_of(st.none(), st.integers(0, 8))
    numbers = draw(st.lists(some, unique=True, max_size=5))
    twin, state = st.sampled_from((None, "t1", "t2")), st.sampled_from(STATES)
    part = st.sampled_from((None, None, 0, 1))
    tables = draw(st.permutations(NAMES))
    columns = draw(st.permutations(COLUMNS))
    return World(
        tables=(tables[0], tables[1], tables[2]),
        key=draw(st.sampled_from(("int", "text", "composite"))),
        key_names=(columns[0], columns[1]),
        text_ids=draw(st.booleans()),
        partitioned=draw(st.booleans()),
        parents=tuple((number, draw(twin), draw(state)) for number in numbers),
        children=tuple(draw(st.lists(st.tuples(missing, part, state), max_size=7))),
        grandchildren=tuple(draw(st.lists(st.tuples(missing, missing), max_size=7))),
        twins=draw(st.sampled_from(TWINS)),
        orphans=draw(st.sampled_from(("quarantine", "null"))),
        fences=draw(st.tuples(st.booleans(), st.booleans(), st.booleans())),
        order=tuple(draw(st.permutations(range(4)))),
    )


def tables_of(world: World) -> str:
    """Write the tables and their rows as SQL."""
    parents, children, grand = (sql.Identifier(name) for name in world.tables)
    types = {"int": ["int"], "text": ["varchar(20)"], "composite": ["bigint", "text"]}[world.key]
    columns = [sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(t)) for n, t in zip(world.key_columns, types)]  # noqa: B905 - a name may be left
    keys, listed = _listed(world.key_columns), sql.SQL(", ").join(columns)
    parts = [
        sql.SQL("CREATE TABLE {} ({}, twin text, state text, PRIMARY KEY ({}))").format(parents, listed, keys),
        sql.SQL(
            "CREATE TABLE {} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {}, state text, body json NOT NULL,"
            " loud text GENERATED ALWAYS AS (upper(state)) STORED){}"
        ).format(children, listed, sql.SQL(" PARTITION BY HASH (id)" if world.partitioned else "")),
        sql.SQL("CREATE TABLE {} (id {type} PRIMARY KEY, child_id bigint, boss {type})").format(
            grand, type=sql.SQL("text" if world.text_ids else "int")
        ),
    ]
    if world.partitioned:
        of = "CREATE TABLE part_{n} PARTITION OF {} FOR VALUES WITH (MODULUS 2, REMAINDER {n})"
        parts += [sql.SQL(of).format(children, n=sql.SQL(str(n))) for n in range(2)]
    for number, twin, state in world.parents:
        parts.append(_insert(parents, [*world.key_of(number), twin, state]))
    for number, (parent, part, state) in enumerate(world.children):
        columns = _listed(["id", *world.key_columns, "state", "body"])
        values = [number, *world.pointer(parent, part), state, BODY]
        parts.append(_insert(children, values, columns))
    for number, (child, boss) in enumerate(world.grandchildren):
        parts.append(_insert(grand, [world.boss_id(number), child, world.boss_id(boss)]))
    return ";".join(part.as_string() for part in parts)


def _insert(table: sql.Identifier, values: list[Any], columns: sql.Composed | None = None) -> sql.Composed:
    named = sql.SQL(" ({}) OVERRIDING SYSTEM VALUE").format(columns) if columns else sql.SQL("")
    each = sql.SQL(", ").join(map(sql.Literal, values))
    return sql.SQL("INSERT INTO {}{} VALUES ({})").format(table, named, each)


def _listed(names: Any) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def rules_of(world: World) -> str:
    """Write the rules, in the order that was drawn; but what is copied comes last."""
    parents, children, grand = world.tables
    key = list(world.key_columns)
    points = {"kind": "orphan", "repair": "quarantine"}
    twins = {"null": {"repair": "null"}, "follow": {"repair": "quarantine"}}
    repoint = {"repair": "quarantine", "repoint": [{"table": children, "columns": key}]}
    rules = [
        {"name": "twins", "kind": "duplicate", "table": parents, "columns": ["twin"],
         "keep": [{"column": name} for name in key], "why": "it came first", "fence": world.fences[0],
         **twins.get(world.twins, repoint)},
        points | {"name": "children's; DROP TABLE parents", "table": children, "columns": key, "parent": parents,
                  "parent_columns": key, "repair": world.orphans, "fence": world.fences[1]},
        points | {"name": "grandchildren 100%", "table": grand, "columns": ["child_id"], "parent": children,
                  "parent_columns": ["id"], "fence": world.fences[2]},
        points | {"name": "{staff}", "table": grand, "columns": ["boss"], "parent": grand, "parent_columns": ["id"]},
    ]  # fmt: skip
    copied = {"name": "states", "kind": "mismatch", "table": children, "source": parents, "repair": "copy",
              "join": {name: name for name in key}, "columns": {"state": "state"}}  # fmt: skip
    ordered = [rules[place] for place in world.order]
    return json.dumps({"rules": [*ordered, *([copied] if world.twins != "repoint" else [])]}, ensure_ascii=False)


@dataclass
class Truth:
    """What must be there after a repair, by number."""

    parents: dict[int, tuple[str | None, str | None]]  #: twin, state
    children: dict[int, tuple[tuple[Any, ...], str | None]]  #: pointer, state
    grandchildren: set[int]


def truth_of(world: World) -> Truth:
    """Work out in Python what is left: nothing here knows how a repair goes about it."""
    parents = {number: (twin, state) for number, twin, state in world.parents}
    children = {
        number: (world.pointer(parent, part), state) for number, (parent, part, state) in enumerate(world.children)
    }
    for number, keeper in _doubled(world, parents).items():
        if world.twins == "null":
            parents[number] = (None, parents[number][1])
            continue
        del parents[number]
        if world.twins == "repoint":
            old, new = world.key_of(number), world.key_of(keeper)
            children = {n: (new if pointer == old else pointer, state) for n, (pointer, state) in children.items()}
    there = {world.key_of(number): state for number, (_, state) in parents.items()}
    for number, (pointer, state) in list(children.items()):
        if pointer in there:
            children[number] = (pointer, there[pointer] if world.twins != "repoint" else state)
        elif None not in pointer and world.orphans == "quarantine":
            del children[number]
        elif None not in pointer:
            children[number] = ((None,) * len(pointer), state)
    left = set(range(len(world.grandchildren)))
    while True:
        stay = {
            number
            for number in left
            for child, boss in [world.grandchildren[number]]
            if (child is None or child in children) and (boss is None or boss in left)
        }
        if stay == left:
            return Truth(parents, children, left)
        left = stay


def _doubled(world: World, parents: dict[int, tuple[str | None, str | None]]) -> dict[int, int]:
    """Say which parents go, and whom they go for: the one with the smallest key stays."""
    stays: dict[str, int] = {}
    goes: dict[int, int] = {}
    for number in sorted(parents, key=world.key_of):
        twin = parents[number][0]
        if twin is not None and stays.setdefault(twin, number) != number:
            goes[number] = stays[twin]
    return goes
