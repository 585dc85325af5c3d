"""What is done to keep a set, and to let old ones go."""

from __future__ import annotations

from tasks.backups import offsite, taking
from tasks.backups.reach import Reach
from tasks.backups.state import TakePlan
from tasks.effects import act


def leave_stream(_at: Reach, _plan: TakePlan) -> str:
    """Leave the WAL stream: it harms nobody."""
    return "nothing to take back"


@act("See to it that WAL streams into the repository.", undo=leave_stream)
def stream_wal(at: Reach, plan: TakePlan) -> str:
    """Start the stream, or find it running."""
    return taking.stream(at, plan.node, plan.system_identifier, anew=plan.anew)


def leave_room(_at: Reach, _plan: TakePlan) -> str:
    """Leave what was expired: it was too old, and nobody needed it."""
    return "nothing to take back"


@act("Where the new set has no room beside what is too old, expire that first.", undo=leave_room)
def make_room(at: Reach, plan: TakePlan) -> str:
    """Expire what is expired at the end otherwise: by the same rules, which never let the last good sets go."""
    if not plan.room_first:
        return "there is room"
    return at.repository.expire(plan.expire, plan.keep_from)


def remove_part(at: Reach, _plan: TakePlan) -> str:
    """Remove what was copied so far."""
    return at.repository.clear()


@act("Keep the {plan.kind} set {plan.set_id} of {plan.node}, and verify it.", undo=remove_part)
def take_set(at: Reach, plan: TakePlan) -> str:
    """Copy, count, keep, verify."""
    return taking.take(at, plan)


@act("Expire what is too old, and the WAL that only that needs.", point_of_no_return=True)
def expire_sets(at: Reach, plan: TakePlan) -> str:
    """Remove what nobody needs any more, what builds on others first."""
    if not plan.expire and plan.keep_from is None and plan.forget_before is None:
        return "nothing to expire"
    said = at.repository.expire(plan.expire, plan.keep_from)
    return "; ".join(filter(None, (said, offsite.forget(at, plan))))
