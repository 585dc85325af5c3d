"""What looks at the rows of applications found: the rows of one look, and the history of all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select

from blocks.ledger.block import Ledger
from blocks.ledger.records import Record
from blocks.ledger.schema import examinations, findings, runs
from blocks.ledger.sql import insert_into, now

ROWS = 500  #: in one transaction, so that nobody who renews a lease waits long
KEPT_DAYS = 90  #: the rows of a look; what it said of each rule is kept for ever

Key = tuple[str, ...]


class Examination(Record):
    """What one look said of one rule."""

    run_id: str
    rule: str
    target: str
    at: datetime
    found: int | None  #: wrong rows; None when the rule could not be looked at
    seconds: float
    said: str  #: an example, or why it could not be looked at


def keep(ledger: Ledger, run_id: str, rule: str, found: Sequence[tuple[Key, str]]) -> None:
    """Remember wrong rows, by key and evidence, in place of what this run had found by this rule before."""

    def forget(connection: Connection) -> None:
        old = now(connection) - timedelta(days=KEPT_DAYS)
        outdated = select(runs.c.id).where(runs.c.started_at < old)
        mine = (findings.c.run_id == run_id) & (findings.c.rule == rule)
        connection.execute(delete(findings).where(mine | findings.c.run_id.in_(outdated)))

    ledger.write(forget, durable=False)
    for first in range(0, len(found), ROWS):
        rows = [
            {"run_id": run_id, "rule": rule, "number": first + place, "key": list(key), "evidence": evidence}
            for place, (key, evidence) in enumerate(found[first : first + ROWS])
        ]

        def work(connection: Connection, rows: list[dict[str, object]] = rows) -> None:
            connection.execute(insert_into(connection, findings).on_conflict_do_nothing(), rows)

        ledger.write(work, durable=False)


def keys(ledger: Ledger, run_id: str, rule: str) -> list[Key]:
    """Give the keys of the rows that a run found wrong by a rule, in the order in which they were found."""
    mine = (findings.c.run_id == run_id) & (findings.c.rule == rule)
    query = select(findings.c.key).where(mine).order_by(findings.c.number)
    with ledger.read() as connection:
        return [tuple(row.key) for row in connection.execute(query)]


def examined(ledger: Ledger, looks: Sequence[Examination]) -> None:
    """Enter what a look said of its rules."""

    def work(connection: Connection) -> None:
        for each in looks:
            insert = insert_into(connection, examinations).values(**each.model_dump())
            same = {"found": each.found, "seconds": each.seconds, "said": each.said, "at": each.at}
            connection.execute(insert.on_conflict_do_update(index_elements=["run_id", "rule"], set_=same))

    ledger.write(work)


def history(ledger: Ledger, target: str, looks: int) -> list[Examination]:
    """Give what the last LOOKS at a target said, the newest first."""
    mine = examinations.c.target == target
    looked = select(examinations.c.run_id, examinations.c.at).where(mine).distinct()
    latest = looked.order_by(examinations.c.at.desc()).limit(looks).subquery()
    query = select(examinations).where(mine, examinations.c.run_id.in_(select(latest.c.run_id)))
    with ledger.read() as connection:
        found = connection.execute(query.order_by(examinations.c.at.desc(), examinations.c.rule))
        return [Examination.model_validate(row) for row in found]
