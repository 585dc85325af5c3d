"""All objects of one kind, oldest first by the second they were created in; seeded ones are rendered when asked for."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import orjson

Object = dict[str, Any]
Wanted = Callable[[int], bool]
GONE = 255
#: By these an object is found without looking at all of them.
PARENTS = ("customer", "subscription", "invoice", "payment_intent")


class Block(Protocol):
    """Many seeded objects of one kind, known by their number."""

    prefix: str
    count: int
    created: array[int]
    marks: bytes
    statuses: tuple[str, ...]

    def render(self, index: int) -> bytes:
        """Write the object of this number."""

    def children(self, field: str, parent: str) -> range:
        """Number the objects whose FIELD is PARENT."""


class Collection:
    """Found by id, by parent, by second; listed newest first."""

    def __init__(self, kind: str, shown: Callable[[Object], Object] = lambda o: o) -> None:
        """Start empty; SHOWN turns what is kept into what is answered."""
        self.kind, self.shown = kind, shown
        self._created: array[int] = array("q")  # by position
        self._order: array[int] = array("q")  # ordinal by position
        self._born: array[int] = array("q")  # by ordinal
        self.marks = bytearray()  # status by ordinal
        self._codes: dict[str, int] = {"": 0}
        self._objects: dict[int, Object] = {}
        self._rendered: dict[int, bytes] = {}
        self._ordinals: dict[str, int] = {}
        self._children: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._blocks: list[tuple[int, Block]] = []
        self._forgotten: set[str] = set()

    def __len__(self) -> int:
        """Count them, the deleted ones as well."""
        return len(self._born)

    # --- writing

    def put(self, stored: Object) -> None:
        """Keep an object, new or changed."""
        ordinal = self.ordinal(stored["id"])
        if ordinal is None:
            ordinal = self._append(stored)
        self._objects[ordinal] = stored
        self._rendered[ordinal] = orjson.dumps(self.shown(stored))
        if self.marks[ordinal] != GONE:
            self.marks[ordinal] = self.code(str(stored.get("status") or ""))

    def remove(self, id_: str) -> None:
        """Take it out of the lists; it can still be retrieved."""
        ordinal = self.ordinal(id_)
        if ordinal is not None:
            self.marks[ordinal] = GONE

    def forget(self, id_: str) -> None:
        """Let it be as if it never was, for those who ask by its id."""
        self.remove(id_)
        self._forgotten.add(id_)

    def seed(self, block: Block) -> None:
        """Take over many objects that are written when somebody asks."""
        first, after = len(self._born), not self._created or self._created[-1] <= block.created[0]
        self._blocks.append((first, block))
        codes = bytes(self.code(status) for status in block.statuses) or b"\0"
        self.marks += block.marks.translate(codes.ljust(256, b"\0"))
        self._born += block.created
        self._order += array("q", range(first, first + block.count))
        self._created += block.created
        if not after:
            self._order = array("q", sorted(range(len(self._born)), key=self._born.__getitem__))
            self._created = array("q", sorted(self._born))

    def code(self, status: str) -> int:
        """Give the mark of a status; unknown ones are learnt."""
        return self._codes.setdefault(status, len(self._codes))

    def _append(self, stored: Object) -> int:
        ordinal, created = len(self._born), stored["created"]
        position = bisect_right(self._created, created)
        self._created.insert(position, created)
        self._order.insert(position, ordinal)
        self._born.append(created)
        self.marks.append(0)
        self._ordinals[stored["id"]] = ordinal
        for field, parent in parents(stored):
            self._children[field, parent].append(ordinal)
        return ordinal

    # --- reading

    def ordinal(self, id_: str) -> int | None:
        """Find the number of an id."""
        if id_ in self._forgotten:
            return None
        for first, block in self._blocks:
            rest = id_[len(block.prefix) :]
            if id_.startswith(block.prefix) and rest.isdigit() and int(rest) < block.count:
                return first + int(rest)
        return self._ordinals.get(id_)

    def get(self, id_: str) -> Object | None:
        """Give the object, to be changed and put back; also when it is deleted."""
        ordinal = self.ordinal(id_)
        return None if ordinal is None else self.at(ordinal)

    def at(self, ordinal: int) -> Object:
        """Give the object of this number."""
        stored = self._objects.get(ordinal)
        return orjson.loads(self._seeded(ordinal)) if stored is None else stored  # type: ignore[no-any-return]

    def written(self, ordinal: int) -> bytes:
        """Give the JSON of the object of this number."""
        return self._rendered.get(ordinal) or self._seeded(ordinal)

    def gone(self, id_: str) -> bool:
        """Tell whether it was deleted."""
        ordinal = self.ordinal(id_)
        return ordinal is not None and self.marks[ordinal] == GONE

    def children(self, field: str, parent: str) -> list[int]:
        """Number the objects whose FIELD is PARENT, newest first."""
        found = [first + index for first, block in self._blocks for index in block.children(field, parent)]
        return sorted((*found, *self._children.get((field, parent), ())), key=self._place, reverse=True)

    def live(self) -> Iterator[int]:
        """Number everything that is not deleted, oldest first."""
        return (ordinal for ordinal in self._order if self.marks[ordinal] != GONE)

    def span(self, low: int | None, high: int | None) -> tuple[int, int]:
        """Give the positions of those created in [low, high)."""
        first = 0 if low is None else bisect_left(self._created, low)
        return first, len(self._order) if high is None else bisect_left(self._created, high)

    def position(self, ordinal: int) -> int:
        """Find where an object stands; in one second, those that came later stand later."""
        created = self._born[ordinal]
        low = bisect_left(self._created, created)
        return bisect_left(self._order, ordinal, low, bisect_right(self._created, created, low))

    def newest(self, low: int, high: int, wanted: Wanted) -> Iterator[int]:
        """Number those at positions [low, high) that are wanted, newest first."""
        order = self._order
        return (order[at] for at in range(high - 1, low - 1, -1) if wanted(order[at]))

    def oldest(self, low: int, high: int, wanted: Wanted) -> Iterator[int]:
        """Number those at positions [low, high) that are wanted, oldest first."""
        order = self._order
        return (order[at] for at in range(low, high) if wanted(order[at]))

    def _place(self, ordinal: int) -> tuple[int, int]:
        return self._born[ordinal], ordinal

    def _seeded(self, ordinal: int) -> bytes:
        first, block = next(pair for pair in reversed(self._blocks) if pair[0] <= ordinal)
        return block.render(ordinal - first)


def parents(stored: Object) -> Iterator[tuple[str, str]]:
    """Name what an object belongs to."""
    for field in PARENTS:
        if isinstance(stored.get(field), str):
            yield field, stored[field]
    if stored["object"] == "invoice_payment":
        yield "payment_intent", stored["payment"]["payment_intent"]
    if stored["object"] == "invoice" and stored["parent"]:
        yield "subscription", stored["parent"]["subscription_details"]["subscription"]
