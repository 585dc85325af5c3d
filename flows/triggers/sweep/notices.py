"""Deliver the notifications in the outbox, each route on its own: a broken one repeats nothing on the others."""

from __future__ import annotations

import logging
from typing import cast

from blocks.errors import SalvorError, Transient
from blocks.ledger import outbox
from blocks.ledger.block import Ledger
from blocks.ledger.records import Notification, Parcel
from blocks.paging import Paging

LOG = logging.getLogger("salvor.notices")
KNOWN: dict[str, Paging] = {}


def deliver_notices(ledger: Ledger, paging: Paging | None = None) -> int:
    """Send what is due; say how many were sent. What fails is kept, with the reason, and tried again."""
    delivered = 0
    try:
        while parcels := outbox.due(ledger, kinds=("notification",)):
            delivered += sum(_delivered(ledger, paging, parcel) for parcel in parcels)
    except SalvorError as error:
        LOG.warning("Notifications wait, because the ledger does not answer: %s", error)
    return delivered


def _delivered(ledger: Ledger, paging: Paging | None, parcel: Parcel) -> bool:
    try:
        note = _deliver(ledger, paging or _block(), parcel)
    except Exception as error:  # noqa: BLE001  # whatever a notification service's library raises, the rest must go out
        LOG.warning("Notification %s was not sent, trying again: %s", parcel.key, error)
        outbox.failed(ledger, parcel.id, str(error) or type(error).__name__)
        return False
    outbox.sent(ledger, parcel.id, note)
    return True


def _deliver(ledger: Ledger, paging: Paging | None, parcel: Parcel) -> str:
    content = dict(parcel.payload)
    route = content.pop("route", "")
    note = Notification.model_validate(content)
    if paging is None:
        LOG.warning("%s (nobody is told: there is no block `paging`)", note.title)
        return "nobody was told: there is no block `paging`"
    if route:
        paging.send(route, note)
        return ""
    for each in paging.routes(note):
        outbox.put(ledger, "notification", f"{parcel.key}/{each}", content | {"route": each})
    return "handed to each route"


def _block() -> Paging | None:
    """Load the block; while Prefect is down, the one that was loaded last: that is when people must be told."""
    try:
        KNOWN["paging"] = cast("Paging", Paging.load("paging"))
    except ValueError:
        KNOWN.clear()
    except Exception as error:
        if not KNOWN:
            raise Transient(f"the block `paging` could not be loaded: {error}") from error
    return KNOWN.get("paging")


def remember_paging() -> None:
    """Load the block before it is needed."""
    try:
        _block()
    except Transient as error:
        LOG.warning("People cannot be told yet: %s", error)
