"""What a drill does, in its scratch folder: nothing of it touches production, and nothing of it stays."""

from __future__ import annotations

from blocks.errors import StandDown
from blocks.postgres_host import ScriptFailed
from tasks.backups import dumping, recovering, serving
from tasks.backups.reach import SCRATCH, Reach
from tasks.backups.restore_act import fetched
from tasks.backups.state import RestorePlan
from tasks.effects import act


def remove_copy(at: Reach, plan: RestorePlan) -> str:
    """Stop what was started against the copy, and remove it."""
    recovering.let_go(at, plan)
    stopped = serving.stop(at.services)  # also those that a drill that died has left
    return serving.words([*stopped, serving.Said(at.restoring(SCRATCH).remove())])


@act("Copy the set into the scratch folder, and prove it while it is copied.", undo=remove_copy)
def fetch_into_scratch(at: Reach, plan: RestorePlan) -> str:
    """Copy the best set, as in an emergency; what an earlier drill left is removed first."""
    remove_copy(at, plan)
    try:
        return dumping.make(at, plan) if plan.way == "dump" else fetched(at, plan)
    except StandDown as error:
        if not plan.what:
            raise
        # That it fails is what a drill is to find out: it is judged, and kept in the history. A damaged copy may start
        # all the same, so it goes.
        at.restoring(SCRATCH).remove()
        return f"failed: {error}"


@act("Start the copy, with archiving off, and bring it to {plan.aim.said}.", undo=remove_copy)
def recover_copy(at: Reach, plan: RestorePlan) -> str:
    """Recover as in an emergency, on a port of its own."""
    try:
        if plan.way == "dump":
            return dumping.load(at, plan)
        recovering.prepare(at, plan)
        return recovering.recover(at, plan)
    except (StandDown, ScriptFailed) as error:
        if not plan.what:
            raise StandDown(str(error)) from error
        return f"failed: {error}"


@act("Start the services of the scratch folder against the copy.", undo=remove_copy)
def serve_copy(at: Reach, plan: RestorePlan) -> str:
    """Start them in order, each when the one before it works."""
    return serving.words(serving.start_in_order(at.services)) if plan.services else "not wanted"


@act("Remove the copy.", point_of_no_return=True)
def clear_scratch(at: Reach, plan: RestorePlan) -> str:
    """Leave nothing."""
    return remove_copy(at, plan)
