"""What repositories held when they were last seen, and how recoveries from them went."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select, update

from blocks.backup_records import BackupSet
from blocks.ledger.block import Ledger
from blocks.ledger.records import Record
from blocks.ledger.schema import backups, drills
from blocks.ledger.sql import insert_into, now

ROWS = 500  #: in one transaction, so that nobody who renews a lease waits long


class Practised(Record):
    """How one recovery from a backup went."""

    run_id: str
    target: str
    kind: str  #: newest, moment, disaster, restore
    at: datetime
    set_id: str
    recovered_to: str
    passed: bool
    writable_seconds: float | None = None
    verified_seconds: float | None = None
    protected_seconds: float | None = None
    said: str = ""


class Standing(Record):
    """How one target stands: its newest good set, and its practice."""

    newest_at: datetime | None = None  #: when the newest set ended that is good, and all that it builds on
    practised_since: datetime | None = None
    passed_at: datetime | None = None
    rto_seconds: float | None = None  #: until writes, in the last recovery that passed


def keep(ledger: Ledger, target: str, sets: Sequence[BackupSet]) -> None:
    """Remember what the repository of TARGET holds now; what is no longer there is marked as gone."""
    known = _known(ledger, target)
    content = {each.id: each.model_dump(mode="json") for each in sets}
    changed = [name for name, value in content.items() if known.get(name) != value]
    gone = [name for name in known if name not in content]
    for first in range(0, max(len(changed), len(gone)), ROWS):

        def work(connection: Connection, first: int = first) -> None:
            moment = now(connection)
            for name in changed[first : first + ROWS]:
                values = {"content": content[name], "seen_at": moment, "gone_at": None}
                insert = insert_into(connection, backups).values(target=target, id=name, **values)
                connection.execute(insert.on_conflict_do_update(index_elements=["target", "id"], set_=values))
            lost = (backups.c.target == target) & backups.c.id.in_(gone[first : first + ROWS])
            connection.execute(update(backups).where(lost).values(gone_at=moment))

        ledger.write(work, durable=False)


def _known(ledger: Ledger, target: str) -> dict[str, object]:
    query = select(backups.c.id, backups.c.content).where(backups.c.target == target, backups.c.gone_at.is_(None))
    with ledger.read() as connection:
        return {row.id: row.content for row in connection.execute(query)}


def last_seen(ledger: Ledger, target: str) -> list[BackupSet]:
    """Give what the repository of TARGET held when it was last seen."""
    return [BackupSet.model_validate(content) for _, content in sorted(_known(ledger, target).items())]


def practised(ledger: Ledger, result: Practised) -> None:
    """Enter how a recovery went."""

    def work(connection: Connection) -> None:
        values = result.model_dump()
        insert = insert_into(connection, drills).values(**values)
        connection.execute(insert.on_conflict_do_update(index_elements=["run_id"], set_=values))

    ledger.write(work)


def history(ledger: Ledger, target: str, limit: int = 30) -> list[Practised]:
    """Give how the last recoveries of TARGET went, the newest first."""
    query = select(drills).where(drills.c.target == target).order_by(drills.c.at.desc()).limit(limit)
    with ledger.read() as connection:
        return [Practised.model_validate(row) for row in connection.execute(query)]


def standings(ledger: Ledger) -> dict[str, Standing]:
    """Give how every target stands, by narrow columns, for it is asked at every scrape."""
    passed = select(drills.c.target, func.max(drills.c.at).label("at")).where(drills.c.passed).group_by(drills.c.target)
    last = passed.subquery()
    rows = select(drills.c.target, drills.c.at, drills.c.writable_seconds).join(
        last, (drills.c.target == last.c.target) & (drills.c.at == last.c.at)
    )
    first = select(drills.c.target, func.min(drills.c.at).label("at")).group_by(drills.c.target)
    with ledger.read() as connection:
        newest = _newest(connection)
        since = {row.target: row.at for row in connection.execute(first)}
        best = {row.target: row for row in connection.execute(rows)}
    return {
        target: Standing(
            newest_at=newest.get(target),
            practised_since=since.get(target),
            passed_at=best[target].at if target in best else None,
            rto_seconds=best[target].writable_seconds if target in best else None,
        )
        for target in newest.keys() | since.keys()
    }


def _newest(connection: Connection) -> dict[str, datetime]:
    content = {name: backups.c.content[name].as_string() for name in ("parent", "bad", "verified_at", "ended_at")}
    query = select(backups.c.target, backups.c.id, *(each.label(name) for name, each in content.items()))
    kept = {(row.target, row.id): row for row in connection.execute(query.where(backups.c.gone_at.is_(None)))}
    good: dict[tuple[str, str], bool] = {}
    newest: dict[str, datetime] = {}
    for (target, name), row in sorted(kept.items()):  # by name: what a set builds on was taken before it
        parent = not row.parent or good.get((target, row.parent), False)
        good[target, name] = parent and not row.bad and bool(row.verified_at)
        if good[target, name]:
            newest[target] = max(
                datetime.fromisoformat(row.ended_at), newest.get(target, datetime.min.replace(tzinfo=UTC))
            )
    return newest
