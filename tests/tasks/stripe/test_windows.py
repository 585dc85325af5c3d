"""Windows over lists that change while they are read, by any number of workers in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.stripe.windows import Window, Windows, covered

AHEAD = 60  #: seconds in which something can still be made
#: Seconds after the last burst, and how many are made in it; large enough that somebody has something to steal.
bursts = st.lists(st.tuples(st.integers(0, 400), st.integers(1, 150)), max_size=4).flatmap(
    lambda few: st.integers(1, 5).map(lambda times: few * times)
)


@dataclass(frozen=True)
class Thing:
    id: str
    created: int


@dataclass
class Listed:
    """A list as Stripe gives it: newest first, of one second the later one first."""

    things: list[Thing] = field(default_factory=list)
    forgetful: bool = False  #: a cursor that was deleted is refused
    gone: dict[str, int] = field(default_factory=dict)  #: where they stood

    @classmethod
    def of(cls, found: list[tuple[int, int]]) -> Listed:
        it, second = cls(), 0
        for gap, count in found:
            second += gap
            for _ in range(count):
                it.add(second)
        return it

    def add(self, created: int) -> None:
        self.things.append(Thing(f"x{len(self.things) + len(self.gone)}", created))
        self.things.sort(key=lambda thing: (thing.created, int(thing.id[1:])))

    @property
    def until(self) -> int:
        return max((thing.created for thing in self.things), default=0) + AHEAD

    def delete(self, number: int) -> None:
        thing = self.things.pop(number % len(self.things))
        self.gone[thing.id] = thing.created

    def page(self, params: dict[str, Any], size: int) -> tuple[list[Thing], bool]:
        bounds, cursor = params["created"], params.get("starting_after", "")
        if cursor in self.gone and self.forgetful:
            raise LookupError(cursor)
        found = [t for t in reversed(self.things) if bounds["gte"] <= t.created < bounds["lt"]]
        if cursor:
            created = self.gone.get(cursor, 0) or next(t.created for t in self.things if t.id == cursor)
            found = [t for t in found if (t.created, int(t.id[1:])) < (created, int(cursor[1:]))]
        return found[:size], len(found) > size


Pick = Callable[[int], int]


def read(listed: Listed, pick: Pick, size: int, workers: int, meanwhile: Callable[[], None]) -> tuple[Windows, Counter]:
    """Let WORKERS read the list; PICK says whose answer comes next, and MEANWHILE what happens before it is given."""
    windows, seen, asked = Windows.whole(0, listed.until), Counter[str](), list[tuple[Window, dict[str, Any]]]()
    while not windows.finished:
        while len(asked) < workers and (window := windows.take()):
            asked.append((window, window.params()))
        window, params = asked.pop(pick(len(asked)))
        meanwhile()
        try:
            page, more = listed.page(params, size)
        except LookupError:
            window.begin_again()
            page, more = listed.page(window.params(), size)
        seen.update(thing.id for thing in windows.arrived(window, page, has_more=more))
        windows.free(window)
    return windows, seen


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(found=bursts, size=st.integers(1, 100), workers=st.integers(1, 6), data=st.data())
def test_each_object_comes_exactly_once_whoever_reads_what(found, size, workers, data):
    """Whatever lies where, ties included, whoever steals from whom: every id once, and no second is left out."""
    listed = Listed.of(found)
    windows, seen = read(listed, lambda n: data.draw(st.integers(0, n - 1)), size, workers, lambda: None)
    assert seen == Counter(thing.id for thing in listed.things)
    assert covered(windows.windows)
    assert min(w.since for w in windows.windows) == 0
    assert max(w.until for w in windows.windows) == listed.until


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(found=bursts, size=st.integers(1, 100), workers=st.integers(1, 6), forgetful=st.booleans(), data=st.data())
def test_what_is_there_all_the_time_is_listed_though_others_come_and_go(found, size, workers, forgetful, data):
    """None is lost by what is made or deleted meanwhile; twice only where a deleted cursor is refused."""
    listed = Listed.of(found)
    listed.forgetful = forgetful
    before, latest = {thing.id for thing in listed.things}, listed.until - 1

    def meanwhile() -> None:
        for what in data.draw(st.lists(st.integers(-50, 50), max_size=3)):
            if what < 0 and listed.things:
                listed.delete(what)
            elif what >= 0:
                listed.add(latest - what)

    _, seen = read(listed, lambda n: data.draw(st.integers(0, n - 1)), size, workers, meanwhile)
    assert before - set(listed.gone) <= set(seen)
    assert forgetful or max(seen.values(), default=1) == 1


def test_an_idle_worker_takes_the_older_half_of_what_is_not_read():
    """And a page that was asked for before gives the thief's objects up."""
    windows = Windows.whole(0, 1000)
    first = windows.take()
    assert first is not None
    assert windows.take() is None  # nobody knows yet how much there is
    assert windows.arrived(first, [Thing(f"x{n}", 999 - n // 2) for n in range(100)], has_more=True)
    thief = windows.take()
    assert thief is not None
    assert (thief.since, thief.until, first.since) == (0, 475, 475)
    late = [Thing("y1", 480), Thing("y2", 474)]
    assert windows.arrived(first, late, has_more=True) == late[:1]
    assert first.done
