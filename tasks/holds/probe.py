"""Look at the holds in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

from blocks.ledger import holds
from tasks.effects import probe
from tasks.guard import current
from tasks.holds.decide import Seen, Standing


@probe
def observe_holds() -> Seen:
    """List the holds that are in force or will be."""
    found = holds.standing(current().ledger)
    standing = (Standing(resource=h.resource, starts_at=h.starts_at, until=h.until, reason=h.reason) for h in found)
    return Seen(at=datetime.now(UTC), holds=tuple(standing))
