"""Troubles that last: each is told once when it begins and once when it is over, whoever sees it and however often."""

from __future__ import annotations

from sqlalchemy import Connection, select

from blocks.ledger import outbox as parcels
from blocks.ledger.block import Ledger
from blocks.ledger.records import Notification
from blocks.ledger.schema import outbox

OVER = "over"


def begin(ledger: Ledger, name: str, note: Notification) -> bool:
    """Tell NOTE unless the trouble NAME was told and is not over; say whether it was told now."""

    def work(connection: Connection) -> bool:
        number, lasts = _last(connection, name)
        if lasts:
            return False
        return parcels.put(connection, "notification", f"trouble/{name}/{number + 1}", note.model_dump())

    return ledger.write(work)


def end(ledger: Ledger, name: str, note: Notification) -> bool:
    """Tell NOTE when the trouble NAME was told and is not over; say whether it was told now."""

    def work(connection: Connection) -> bool:
        number, lasts = _last(connection, name)
        if not lasts:
            return False
        return parcels.put(connection, "notification", f"trouble/{name}/{number}/{OVER}", note.model_dump())

    return ledger.write(work)


def _last(connection: Connection, name: str) -> tuple[int, bool]:
    """Give the number of the last time, and whether it lasts. What was told long ago is forgotten, and told again."""
    begins = f"trouble/{name}/"
    query = select(outbox.c.key).where(
        outbox.c.kind == "notification", outbox.c.key.startswith(begins, autoescape=True)
    )
    told = [key.removeprefix(begins).split("/") for key in connection.execute(query).scalars()]
    # The parcels for each way of telling, which are made later, have the name of that way behind.
    ended = {int(number) for number, *more in told if more[:1] == [OVER]}
    begun = {int(number) for number, *more in told if not more}
    number = max(begun | ended, default=0)
    return number, number in begun - ended
