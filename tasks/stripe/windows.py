"""Which part of a list is read by whom: half-open windows of `created`, and work stealing. Pure.

Stripe lists newest first. A window [since, until) is read from its end: by pages, each after the last id of the one
before. Whoever has nothing to do takes the older half of what somebody else has not read yet. A page that was asked for
before its window shrank may hold objects that are now another's: they are left to that one, so every id comes once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol, TypeVar

PAGE = 100


class Dated(Protocol):
    """What a page holds, newest first."""

    id: str
    created: int


D = TypeVar("D", bound=Dated)


@dataclass
class Window:
    """A part of a list, and how far it was read."""

    number: int
    since: int  #: first second that belongs to it
    until: int  #: first second that does not
    cursor: str = ""  #: id of the last object that was read
    oldest: int = 0  #: when that one was made
    read: int = 0  #: how many were
    done: bool = False
    below: int = 0  #: only what was made before it is left to read; 0 until it had to begin again
    lost: str = ""  #: the cursor that was given up for it

    @property
    def frontier(self) -> int:
        """The second down to which it was read; objects of this very second may be left."""
        return self.oldest if self.cursor else self.below or self.until

    @property
    def left(self) -> int:
        """How many seconds are not read."""
        return 0 if self.done else self.frontier - self.since

    @property
    def objects_left(self) -> float:
        """How many objects the unread part holds, if they are as dense there; 0 before the first page."""
        span = self.until - self.frontier
        return self.read / span * self.left if span else 0.0

    def params(self) -> dict[str, object]:
        """Ask for the next page."""
        created = {"gte": self.since, "lt": self.below or self.until}
        return {"limit": PAGE, "created": created} | ({"starting_after": self.cursor} if self.cursor else {})

    def begin_again(self) -> None:
        """Give the cursor up, because its object is gone; those of its second come once more."""
        self.lost, self.cursor, self.below = self.cursor, "", self.oldest + 1


@dataclass
class Windows:
    """All windows of one list; the caller sees to it that only one thread calls at a time."""

    windows: list[Window] = field(default_factory=list)
    busy: set[int] = field(default_factory=set)

    @classmethod
    def whole(cls, since: int, until: int) -> Windows:
        """Cover everything that was made in [SINCE, UNTIL)."""
        return cls([Window(0, since, until)])

    @property
    def finished(self) -> bool:
        """Whether everything was read."""
        return all(window.done for window in self.windows)

    @property
    def share(self) -> float:
        """Which share of the time was read; the objects may lie elsewhere."""
        whole = sum(w.until - w.since for w in self.windows)
        return 1 - sum(w.left for w in self.windows) / whole if whole else 1.0

    def take(self) -> Window | None:
        """Give an idle worker a window that nobody reads, or half of another's; None if none is worth it."""
        for window in self.windows:
            if not window.done and window.number not in self.busy:
                self.busy.add(window.number)
                return window
        return self._stolen()

    def free(self, window: Window) -> None:
        """Let somebody else go on with WINDOW."""
        self.busy.discard(window.number)

    def arrived(self, window: Window, page: Sequence[D], *, has_more: bool) -> list[D]:
        """Note a page of WINDOW, and give the objects of it that belong to it still."""
        mine = [each for each in page if each.created >= window.since]
        if mine:
            window.cursor, window.oldest = mine[-1].id, mine[-1].created
            window.read += len(mine)
        window.done = not has_more or len(mine) < len(page) or not page
        return mine

    def _stolen(self) -> Window | None:
        victims = [w for w in self.windows if w.left > 1 and w.objects_left > PAGE]
        victim = max(victims, key=lambda w: w.objects_left, default=None)
        if victim is None:
            return None
        middle = victim.since + (victim.left + 1) // 2
        thief = Window(max(w.number for w in self.windows) + 1, victim.since, middle)
        victim.since = middle
        self.windows.append(thief)
        self.busy.add(thief.number)
        return thief


def covered(windows: Iterable[Window]) -> bool:
    """Whether WINDOWS follow upon one another without gap or overlap."""
    parts = sorted((w.since, w.until) for w in windows)
    return all(before[1] == after[0] for before, after in pairwise(parts))
