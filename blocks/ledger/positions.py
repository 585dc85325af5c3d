"""How far each primary had written, and each archive had received, when it was last seen."""

from __future__ import annotations

from sqlalchemy import Connection, select

from blocks.ledger.block import Ledger
from blocks.ledger.records import Position
from blocks.ledger.schema import positions
from blocks.ledger.sql import insert_into

#: Begins the resource of an archive: `at` is then the moment up to which everything written had arrived.
ARCHIVE = "recovery.archive."


def record(ledger: Ledger, position: Position) -> None:
    """Keep the newest position of a node; an older one that comes late changes nothing."""

    def work(connection: Connection) -> None:
        values = position.model_dump()
        values["streaming"] = list(position.streaming)
        insert = insert_into(connection, positions).values(**values)
        later = positions.c.at < insert.excluded.at
        keys = ["resource", "node"]
        connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=values, where=later))

    ledger.write(work, durable=False)


def last(ledger: Ledger, resource: str) -> Position | None:
    """Tell the newest position that any primary of RESOURCE was seen at."""
    newest = (positions.c.at.desc(), positions.c.timeline.desc())
    query = select(positions).where(positions.c.resource == resource).order_by(*newest).limit(1)
    with ledger.read() as connection:
        row = connection.execute(query).one_or_none()
        return None if row is None else Position.model_validate(row)
