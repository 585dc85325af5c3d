"""What happened while the lists were read: the events since, each object of them asked for again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import Field, TypeAdapter

from blocks.stripe_api import StripeApi
from tasks.stripe.kinds import BY_OBJECT
from tasks.stripe.looks import Looks
from tasks.stripe.shapes import Narrow

OVERLAP_SECONDS = 60  #: an event may appear later than its time says
SEEN_PAGES = 5
ROUNDS = 5


class About(Narrow):
    """The object of an event."""

    id: str = ""
    object: str = ""


class EventData(Narrow):
    """What an event carries."""

    object: About = Field(default_factory=About)


class Event(Narrow):
    """An event."""

    id: str
    created: int
    data: EventData = Field(default_factory=EventData)


class Events(Narrow):
    """A page of events, newest first."""

    data: list[Event]
    has_more: bool = False


_EVENTS = TypeAdapter(Events)


class Tail:
    """The events of one account from a moment on; those before it are in the lists."""

    def __init__(self, account: str, api: StripeApi, looks: Looks, since: int = 0) -> None:
        """Note which events there are already, unless an earlier run has; objects of before SINCE are left out."""
        self._api, self._looks, self._oldest = api, looks.at(api), since
        self._name = f"watermark {account}"
        kept = looks.spool.noted(self._name)
        if kept is None:
            kept = self._mark()
            looks.spool.note(self._name, kept)
        self.since, self.seen = int(kept["since"]), set(kept["seen"])
        self.events = 0
        self.changed: set[tuple[str, str]] = set()  #: (list, id) of what was asked for again

    def catch_up(self, kinds: Iterable[str]) -> float:
        """Ask again for what changed, until nothing more did; give the time for which the spool is true."""
        wanted = set(kinds)
        for _ in range(ROUNDS):
            at = self._looks.clock()
            fresh = [event for event in self._list(self.since, pages=None) if event.id not in self.seen]
            about = {(e.data.object.object, e.data.object.id) for e in fresh if e.data.object.id}
            again = [(BY_OBJECT[o], i) for o, i in sorted(about) if o in BY_OBJECT and BY_OBJECT[o].name in wanted]
            self._looks.follow(again, self._oldest)
            self.seen |= {event.id for event in fresh}
            self.events += len(fresh)
            self.changed |= {(kind.name, object_id) for kind, object_id in again}
            if not again:
                break
        self._looks.spool.note(self._name, {"since": self.since, "seen": sorted(self.seen)})
        return at

    def _mark(self) -> dict[str, object]:
        newest = self._list(0, pages=1, limit=1)
        since = newest[0].created - OVERLAP_SECONDS if newest else 0
        seen = self._list(since, pages=SEEN_PAGES)
        if len(seen) == SEEN_PAGES * 100:  # so many in a minute: the overlap is as long as what was seen
            since = seen[-1].created + 1
        return {"since": since, "seen": [event.id for event in seen]}

    def _list(self, since: int, *, pages: int | None, limit: int = 100) -> list[Event]:
        found: list[Event] = []
        page = Events(data=[], has_more=True)
        while page.has_more and (pages is None or pages > 0):
            after = {"starting_after": found[-1].id} if found else {}
            created = {"created": {"gte": since}} if since else {}
            page = self._api.read("/v1/events", _EVENTS, {"limit": limit, **created, **after})
            found += page.data
            pages = None if pages is None else pages - 1
        return found


def catch_up(tails: Sequence[Tail], kinds: Sequence[str]) -> float:
    """Follow the events of all accounts; give the time for which the spool is true of all of them."""
    return min(tail.catch_up(kinds) for tail in tails)
