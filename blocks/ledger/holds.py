"""Kill switch, maintenance and freeze windows: nothing is begun on what is held."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, update

from blocks.errors import StandDown
from blocks.ledger.block import Ledger
from blocks.ledger.records import Hold
from blocks.ledger.schema import holds
from blocks.ledger.sql import now

#: Placing and lifting a hold must work while everything is held.
EXEMPT = "recovery.hold."


def hold(  # noqa: PLR0913  # each is a column, and each is named at the call
    ledger: Ledger, resource: str, until: datetime, reason: str, by: str, *, starts_at: datetime | None = None
) -> None:
    """Begin nothing on RESOURCE until UNTIL. RESOURCE is a resource, the name of a target, or `*` for everything."""

    def work(connection: Connection) -> None:
        at = now(connection)
        _lift(connection, resource, by, at)
        values = {"resource": resource, "until": until, "reason": reason, "placed_by": by, "placed_at": at}
        connection.execute(holds.insert().values(**values, starts_at=starts_at or at))

    ledger.write(work)


def lift(ledger: Ledger, resource: str, by: str) -> int:
    """Lift what holds exactly RESOURCE; say how many holds that were."""
    return ledger.write(lambda connection: _lift(connection, resource, by, now(connection)))


def _lift(connection: Connection, resource: str, by: str, at: datetime) -> int:
    standing = (holds.c.resource == resource) & holds.c.lifted_at.is_(None) & (holds.c.until > at)
    return connection.execute(update(holds).where(standing).values(lifted_by=by, lifted_at=at)).rowcount


def standing(ledger: Ledger) -> list[Hold]:
    """List the holds that are in force or will be."""
    with ledger.read() as connection:
        query = select(holds).where(holds.c.lifted_at.is_(None), holds.c.until > now(connection))
        rows = connection.execute(query.order_by(holds.c.starts_at)).all()
        return [Hold(**{name: getattr(row, name) for name in Hold.model_fields}) for row in rows]


def refuse_held(connection: Connection, resource: str, at: datetime) -> None:
    """Raise StandDown when RESOURCE is held now."""
    if resource.startswith(EXEMPT):
        return
    names = {"*", resource, resource.split(".", 2)[-1]}
    query = select(holds).where(holds.c.lifted_at.is_(None), holds.c.starts_at <= at, holds.c.until > at)
    row = connection.execute(query.where(holds.c.resource.in_(names)).order_by(holds.c.until.desc())).first()
    if row is None:
        return
    what = "Everything" if row.resource == "*" else row.resource
    raise StandDown(
        f"{what} is held until {row.until:%Y-%m-%d %H:%M} UTC by {row.placed_by or 'somebody'}: {row.reason}."
        f" To lift it, run recovery-hold on `{row.resource}` with 0 hours."
    )
