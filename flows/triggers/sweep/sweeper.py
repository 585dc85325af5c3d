"""One turn of the sweep: orphaned runs, ends that Prefect does not know, parcels in the outbox.

It may be killed between any two of its lines: what it does is either one transaction of the ledger or something that
may be repeated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Thread
from typing import TypeVar

from blocks.errors import Transient
from blocks.ledger import claims, orphans, outbox, runs
from blocks.ledger.block import Ledger
from blocks.ledger.records import Parcel, Run
from blocks.prefect_runs import PrefectRuns, Runs
from flows.triggers.sweep.notices import deliver_notices, remember_paging
from flows.triggers.sweep.resumption import resume, settle
from tasks.model import Frozen

T = TypeVar("T")
LOG = logging.getLogger("salvor.sweep")
TIDY_EVERY_SECONDS = 3600.0


class Swept(Frozen):
    """What one turn did."""

    dead: tuple[str, ...] = ()  #: runs that were declared dead
    delivered: int = 0
    settled: int = 0


class Sweeper:
    """Sweeps turn by turn; notifications, which may be slow, go out beside it."""

    def __init__(
        self, ledger: Ledger, prefect: Runs | None = None, tell: Callable[[Ledger], object] = deliver_notices
    ) -> None:
        """Sweep LEDGER, and tell PREFECT and, with TELL, people."""
        self.ledger = ledger
        self.tell = tell
        self.prefect = prefect or PrefectRuns()
        self._postman: Thread | None = None
        self._tidied = 0.0

    def turn(self) -> Swept:
        """Do what is due. Never raises because of Prefect; the ledger's errors are the caller's."""
        dead = orphans.sweep(self.ledger)
        for run in dead:
            LOG.warning("Run %s (%s on %s) is dead.", run.id, run.procedure, run.target)
        delivered = sum(while_answered(self._deliver, outbox.due(self.ledger, kinds=("run", "event"))))
        settled = sum(while_answered(self._settle, orphans.unsettled(self.ledger)))
        self._notify()
        return Swept(dead=tuple(run.id for run in dead), delivered=delivered, settled=settled)

    def drain(self, seconds: float = 60.0) -> None:
        """Wait for the notifications that are under way."""
        if self._postman is not None:
            self._postman.join(timeout=seconds)

    def _deliver(self, parcel: Parcel) -> bool:
        try:
            if parcel.kind == "run":
                resume(self.ledger, self.prefect, runs.find(self.ledger, parcel.key))
            else:
                self.prefect.post_event(parcel.payload)
        except Exception as error:
            LOG.warning("%s %s was not delivered: %s", parcel.kind, parcel.key, error)
            outbox.failed(self.ledger, parcel.id, str(error))
            raise
        outbox.sent(self.ledger, parcel.id)
        return True

    def _settle(self, run: Run) -> bool:
        settle(self.ledger, self.prefect, run)
        return True

    def _notify(self) -> None:
        if self._postman is None or not self._postman.is_alive():
            self._postman = Thread(target=self._post, name="notices", daemon=True)
            self._postman.start()

    def _post(self) -> None:
        try:
            if self._tidied == 0 or time.monotonic() - self._tidied > TIDY_EVERY_SECONDS:
                self._tidied = time.monotonic()
                self._tidy()
            self.tell(self.ledger)
        except Exception:
            LOG.exception("Notifications were not sent, trying again.")

    def _tidy(self) -> None:
        if self.tell is deliver_notices:
            remember_paging()
        outbox.prune(self.ledger)
        claims.prune(self.ledger)


def while_answered(work: Callable[[T], bool], items: Iterable[T]) -> Iterator[bool]:
    """Do WORK for each of ITEMS; what cannot be done is passed over, a server that does not answer ends the turn."""
    for item in items:
        try:
            yield work(item)
        except Transient as error:
            LOG.warning("Prefect did not answer, going on next time: %s", error)
            return
        except Exception:
            LOG.exception("This cannot be done: %s", item)


def sweep_once(ledger: Ledger) -> Swept:
    """Sweep one turn, notifications included."""
    sweeper = Sweeper(ledger)
    swept = sweeper.turn()
    sweeper.drain()
    return swept
