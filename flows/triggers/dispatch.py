"""From a signal to a stored alert to a Prefect event: stored first, pushed at once, swept up if that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, Literal

from blocks.errors import SalvorError
from blocks.ledger import alerts, intake
from blocks.ledger.block import Ledger
from blocks.prefect_api import PrefectApi
from flows.triggers.catalogue import unknown
from flows.triggers.events import Signal
from tasks.event import RecoveryEvent
from tasks.model import Frozen

LOG = logging.getLogger("salvor.dispatch")


class Filed(Frozen):
    """What became of one signal."""

    fingerprint: str
    status: Literal["firing", "resolved"]
    new: bool
    count: int
    event: RecoveryEvent | None = None  #: on its way to Prefect
    key: str = ""  #: of the parcel in the outbox
    said: str


def objection(signal: Signal, known: tuple[str, ...]) -> str:
    """Say why SIGNAL starts nothing; empty when it does."""
    if signal.objection or not (why := unknown(signal.procedure, known)):
        return signal.objection
    return f"stored, {why}"


def file(ledger: Ledger, signal: Signal, known: tuple[str, ...]) -> Filed:
    """Store SIGNAL, and in the same transaction its event when it names one of the KNOWN procedures."""
    why_not = objection(signal, known)
    if signal.status == "firing" and not why_not and intake.is_over(ledger, *_episode(signal)):
        why_not = "stored, its end was told before"
    made = None if why_not else signal.event(datetime.now(UTC))
    inbound = signal.inbound()
    stored = alerts.store(ledger, inbound, event=None if made is None else dict(made.body()))
    if signal.status == "resolved":
        intake.withdraw(ledger, *_episode(signal))
    said = why_not or f"{made.name if made else ''}: {signal.procedure} on {signal.target}"
    return Filed(
        fingerprint=signal.fingerprint,
        status=signal.status,
        new=stored.new,
        count=stored.count,
        event=made if stored.new else None,
        key=alerts.identify(inbound),
        said=said if stored.new else f"seen before ({stored.count} times); nothing more is started",
    )


def _episode(signal: Signal) -> tuple[str, str, datetime]:
    return signal.source, signal.fingerprint, signal.starts_at


class Dispatcher:
    """Pushes what was filed, beside the answer to the caller."""

    def __init__(self, ledger: Ledger, prefect: PrefectApi, known: tuple[str, ...]) -> None:
        """Send to PREFECT what LEDGER keeps of the KNOWN procedures."""
        self.ledger = ledger
        self.prefect = prefect
        self.known = known
        self._under_way: set[asyncio.Task[None]] = set()

    def push(self, filed: Filed) -> None:
        """Send the event now, without making anybody wait; the sweep sends what fails here."""
        if filed.event is not None:
            self._start(self._deliver(filed.key, filed.event))
        if filed.status == "resolved" and filed.new:
            self._start(self._cancel(filed.fingerprint))

    async def drain(self, seconds: float = 3.0) -> None:
        """Give what is under way a moment; the outbox keeps the rest."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, key: str, event: RecoveryEvent) -> None:
        try:
            await self.prefect.post_event(event.body())
            await asyncio.to_thread(intake.delivered, self.ledger, "event", key)
        except SalvorError as error:
            LOG.warning("%s for %s is kept in the outbox: %s", event.name, event.payload.target, error)

    async def _cancel(self, fingerprint: str) -> None:
        try:
            if not await asyncio.to_thread(intake.has_begun, self.ledger, fingerprint):
                for name in await self.prefect.cancel_unbegun(fingerprint):
                    LOG.info("Cancelled %s: alert %s was resolved before it began.", name, fingerprint)
        except SalvorError as error:
            LOG.warning("Runs of alert %s will see by themselves that it is resolved: %s", fingerprint, error)
