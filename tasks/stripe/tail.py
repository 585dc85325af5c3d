"""What happened while the lists were read: the events since, each object of them asked for again."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import Field, TypeAdapter

from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeMissing
from tasks.stripe.kinds import BY_OBJECT, Kind
from tasks.stripe.shapes import Deleted, N, Narrow
from tasks.stripe.spool import Spool
from tasks.stripe.sweep import row_of, with_all_items

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
_DELETED = TypeAdapter(Deleted)


class Tail:
    """The events from a moment on; those that were there before the lists were read are in the lists."""

    def __init__(self, api: StripeApi, spool: Spool) -> None:
        """Note which events there are already, unless an earlier run has."""
        self._api, self._spool = api, spool
        kept = spool.noted("watermark")
        if kept is None:
            kept = self._mark()
            spool.note("watermark", kept)
        self.since, self.seen = int(kept["since"]), set(kept["seen"])
        self.events = 0
        self.changed: set[tuple[str, str]] = set()  #: (list, id) of what was asked for again

    def catch_up(self, kinds: Iterable[str], workers: int) -> float:
        """Ask again for what changed, until nothing more did; give the time for which the spool is true."""
        wanted = set(kinds)
        for _ in range(ROUNDS):
            at = time.time()
            fresh = [event for event in self._list(self.since, pages=None) if event.id not in self.seen]
            self.seen |= {event.id for event in fresh}
            self.events += len(fresh)
            about = {(e.data.object.object, e.data.object.id) for e in fresh if e.data.object.id}
            again = [(BY_OBJECT[o], i) for o, i in sorted(about) if o in BY_OBJECT and BY_OBJECT[o].name in wanted]
            refetch(self._api, self._spool, again, workers)
            self.changed |= {(kind.name, object_id) for kind, object_id in again}
            if not again:
                break
        self._spool.note("watermark", {"since": self.since, "seen": sorted(self.seen)})
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


def refetch(api: StripeApi, spool: Spool, objects: list[tuple[Kind[Any], str]], workers: int) -> None:
    """Ask for each object by its id, and keep what Stripe says, be it that it is gone."""
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for _ in pool.map(lambda each: _again(api, spool, *each), objects):
            pass


def _again(api: StripeApi, spool: Spool, kind: Kind[N], object_id: str) -> None:
    observed = time.time()
    try:
        body = api.get(f"/v1/{kind.name}/{object_id}")
    except StripeMissing:
        spool.gone(kind.name, object_id, observed)
        return
    if _DELETED.validate_json(body).deleted:
        spool.gone(kind.name, object_id, observed)
        return
    each = with_all_items(api, kind.one.validate_json(body))
    if each.created >= spool.noted("asked", {}).get("since", 0):
        spool.put(kind.name, [row_of(kind, each, observed)])
