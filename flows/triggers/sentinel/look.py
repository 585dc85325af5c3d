"""Looks at one node and says what was seen, with its times."""

from __future__ import annotations

import time
from pathlib import Path

from blocks.postgres_session import Answer, ask
from flows.triggers.sentinel.detect import Said, Sight
from tasks import queries
from tasks.postgres.state import Receiver

LOOK = queries.load(Path(__file__).with_name("look.sql"))["look"]


async def look(node: str, conninfo: str, deadline: float) -> Sight:
    """Ask NODE over a new connection, which a server that is only half dead cannot open."""
    began = time.monotonic()
    answer = await ask(conninfo, LOOK, deadline)
    return Sight(
        node=node,
        began=began,
        ended=time.monotonic(),
        answer=answer.kind,
        problem=answer.problem.rstrip("."),
        said=said(answer),
    )


def said(answer: Answer) -> Said | None:
    """Return what the server answered, or None when it did not."""
    if not answer.ok:
        return None
    row = answer.rows[0]
    receiver = Receiver(**row["receiver"]) if row["receiver"] else None
    return Said(**row | {"streaming": tuple(row["streaming"]), "receiver": receiver})
