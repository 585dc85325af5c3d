"""List everything of an account: many windows at once, as many as the limit and the latency can use."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Any

from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeStopped
from tasks.stripe.kinds import ITEMS, STATUSES, Kind
from tasks.stripe.shapes import Items, N
from tasks.stripe.spool import Spool
from tasks.stripe.windows import PAGE, Window, Windows

Say = Callable[[str, float], None]
TABLE_OF = {"subscriptions": "subscriptions", "invoices": "invoices", "payment_intents": "payments"}


@dataclass
class Sweep:
    """The lists that are read, and who reads what."""

    api: StripeApi
    spool: Spool
    lists: dict[str, tuple[Kind[Any], Windows]]
    say: Say = lambda _sentence, _percent: None
    objects: int = 0
    unknown: dict[str, int] = field(default_factory=dict)  #: statuses that we do not know, and how many have them
    failed: list[Exception] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    _change: Condition = field(default_factory=Condition)

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
                kind, windows, window = taken
                self._read(kind, windows, window)
        except Exception as error:  # noqa: BLE001  # it is raised again where the run can see it
            with self._change:
                self.failed.append(error)
                self._change.notify_all()
            self.api.stopped.set()

    def _next(self) -> tuple[Kind[Any], Windows, Window] | None:
        with self._change:
            while not self.failed:
                open_lists = [entry for entry in self.lists.values() if not entry[1].finished]
                if not open_lists:
                    self._change.notify_all()
                    return None
                for kind, windows in sorted(open_lists, key=lambda entry: len(entry[1].busy)):
                    if len(windows.busy) < self._useful() and (window := windows.take()):
                        return kind, windows, window
                self._change.wait(0.5)
            return None

    def _useful(self) -> int:
        """Say how many requests to one endpoint can be under way before they only wait for each other (Little)."""
        return 2 + math.ceil(self.api.limiter.endpoint_rate * self.api.latency) if self.api.latency else 4

    def _read(self, kind: Kind[N], windows: Windows, window: Window) -> None:
        with self._change:
            params = window.params()
        observed = time.time()
        page = self.api.read(f"/v1/{kind.name}", kind.page, {**params, **dict(kind.params)})
        self._refuse_other_mode(kind, page.data)
        whole = [with_all_items(self.api, each) for each in page.data]
        rows = {each.id: row_of(kind, each, observed) for each in whole}
        with self._change:  # a cursor is never kept before the page that it stands behind
            mine = windows.arrived(window, whole, has_more=page.has_more)
            windows.free(window)
            kept = [w for w in windows.windows if w is window or not w.done]
            self.spool.put(kind.name, [rows[each.id] for each in mine], kept)
            self._note(kind, mine)
            self._change.notify_all()

    def _refuse_other_mode(self, kind: Kind[N], objects: list[N]) -> None:
        wrong = next((each for each in objects if each.livemode is not self.api.block.livemode), None)
        if wrong is not None:
            mode = "live mode" if wrong.livemode else "a sandbox"
            raise StripeStopped(
                f"The {kind.object} {wrong.id} is of {mode}, and the StripeAccount block says otherwise."
            )

    def _note(self, kind: Kind[N], objects: list[N]) -> None:
        self.objects += len(objects)
        for status in unknown_statuses(kind, objects):
            self.unknown[status] = self.unknown.get(status, 0) + 1
        seconds = max(0.001, time.monotonic() - self.begun)
        share = sum(windows.share for _, windows in self.lists.values()) / len(self.lists)
        left = seconds / share - seconds if share > 0.01 else 0.0  # noqa: PLR2004 - before that it is a guess
        self.say(
            f"Listed {self.objects:,} objects, {self.objects / seconds:,.0f} a second; about {left:.0f} s to go",
            15 * share,
        )


def with_all_items(api: StripeApi, each: N) -> N:
    """Give an object with all its items: a long list of them comes in pages of its own."""
    items = getattr(each, "items", None)
    if items is None or not items.has_more:
        return each
    found = list(items.data)
    while items.has_more:
        params = {"subscription": each.id, "limit": PAGE, "starting_after": found[-1].id}
        items = api.read("/v1/subscription_items", ITEMS, params)
        found += items.data
    return each.model_copy(update={"items": Items(data=found)})


def row_of(kind: Kind[N], each: N, observed: float) -> tuple[str, str, str, float]:
    """Give what is kept of an object: id, what it is joined by, its values as a line, when it was asked for."""
    return each.id, kind.key(each), "\t".join(kind.values(each)), observed


def unknown_statuses(kind: Kind[N], objects: list[N]) -> list[str]:
    """Name the statuses that are not known, once for each object that has one."""
    table = TABLE_OF.get(kind.name, "")
    known = STATUSES.get(table)
    return [f"{table}: {status}" for each in objects if known and (status := kind.status(each)) not in known]
