"""List everything of all accounts: many windows at once, as many as the limit and the latency can use."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeRefused, StripeStopped
from tasks.stripe.clock import Clock
from tasks.stripe.kinds import STATUSES, Kind
from tasks.stripe.looks import row_of, with_all_items
from tasks.stripe.shapes import N, Page
from tasks.stripe.spool import Spool
from tasks.stripe.windows import Window, Windows

Say = Callable[[str, float], None]
GUESS = 0.01  #: a smaller share tells nothing of what is left
TABLE_OF = {"subscriptions": "subscriptions", "invoices": "invoices", "payment_intents": "payments"}


@dataclass(frozen=True)
class Reading:
    """One list of one account, and how far it was read."""

    place: str  #: names it in the spool
    api: StripeApi
    kind: Kind[Any]
    windows: Windows


@dataclass
class Sweep:
    """The lists that are read, and who reads what."""

    spool: Spool
    lists: Sequence[Reading]
    clock: Clock
    say: Say = lambda _sentence, _share: None
    objects: int = 0
    unknown: dict[str, int] = field(init=False)  #: statuses that we do not know, and how many have them
    failed: list[Exception] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    _change: Condition = field(default_factory=Condition)

    def __post_init__(self) -> None:
        """Note what an earlier run has read: it tells nothing of how fast this one is."""
        self._before, self.unknown = self.share, self.spool.noted("unknown", {})

    @property
    def share(self) -> float:
        """Which share of the lists was read."""
        return sum(each.windows.share for each in self.lists) / max(1, len(self.lists))

    def run(self, workers: int) -> None:
        """Read all lists to their end; the first error that does not pass ends it, and what was read is kept."""
        threads = [Thread(target=self._work, name=f"stripe-{n}", daemon=True) for n in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failed:
            raise self.failed[0]

    def _work(self) -> None:
        try:
            while taken := self._next():
                self._read(*taken)
        except Exception as error:  # noqa: BLE001  # it is raised again where the run can see it
            with self._change:
                self.failed.append(error)
                self._change.notify_all()
            for each in self.lists:
                each.api.stopped.set()

    def _next(self) -> tuple[Reading, Window] | None:
        with self._change:
            while not self.failed:
                open_lists = [each for each in self.lists if not each.windows.finished]
                if not open_lists:
                    self._change.notify_all()
                    return None
                for each in sorted(open_lists, key=lambda each: len(each.windows.busy)):
                    if len(each.windows.busy) < _useful(each.api) and (window := each.windows.take()):
                        return each, window
                self._change.wait(0.5)
            return None

    def _read(self, reading: Reading, window: Window) -> None:
        kind, windows = reading.kind, reading.windows
        observed = self.clock()
        page = self._page(reading, window)
        self._refuse_other_mode(reading, page.data)
        whole = [with_all_items(reading.api, each) for each in page.data]
        rows = {each.id: row_of(kind, each, observed) for each in whole}
        with self._change:  # a cursor is never kept before the page that it stands behind
            mine = windows.arrived(window, whole, has_more=page.has_more)
            windows.free(window)
            kept = [w for w in windows.windows if w is window or not w.done]
            self.spool.put(kind.name, [rows[each.id] for each in mine], reading.place, kept)
            self._note(kind, mine)
            self._change.notify_all()

    def _page(self, reading: Reading, window: Window) -> Page[Any]:
        """Ask for the next page; without its cursor, when that object is not listed any more."""
        kind, path = reading.kind, f"/v1/{reading.kind.name}"
        with self._change:
            params = window.params()
        try:
            page: Page[Any] = reading.api.read(path, kind.page, {**params, **dict(kind.params)})
        except StripeRefused:
            if window.cursor in ("", window.lost):  # it is not the cursor's fault
                raise
            with self._change:
                window.begin_again()
                params = window.params()
            page = reading.api.read(path, kind.page, {**params, **dict(kind.params)})
        return page

    @staticmethod
    def _refuse_other_mode(reading: Reading, objects: list[Any]) -> None:
        wrong = next((each for each in objects if each.livemode is not reading.api.block.livemode), None)
        if wrong is not None:
            mode = "live mode" if wrong.livemode else "a sandbox"
            raise StripeStopped(
                f"The {reading.kind.object} {wrong.id} is of {mode}, and the StripeAccount block says otherwise."
            )

    def _note(self, kind: Kind[Any], objects: list[Any]) -> None:
        self.objects += len(objects)
        for status in unknown_statuses(kind, objects):
            self.unknown[status] = self.unknown.get(status, 0) + 1
            self.spool.note("unknown", self.unknown)
        seconds, share = max(0.001, time.monotonic() - self.begun), self.share
        read = share - self._before
        left = f"; about {seconds * (1 - share) / read:,.0f} s to go" if read > GUESS else ""
        self.say(f"Listing: {self.objects:,} objects, {self.objects / seconds:,.0f} a second{left}", share)


def _useful(api: StripeApi) -> int:
    """Say how many requests to one endpoint can be under way before they only wait for each other (Little)."""
    return 2 + math.ceil(api.limiter.endpoint_rate * api.latency) if api.latency else 4


def unknown_statuses(kind: Kind[N], objects: list[N]) -> list[str]:
    """Name the statuses that are not known, once for each object that has one."""
    table = TABLE_OF.get(kind.name, "")
    known = STATUSES.get(table)
    return [f"{table}: {status}" for each in objects if known and (status := kind.status(each)) not in known]
