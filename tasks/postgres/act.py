"""What is done to a cluster: each act with the sentence the operator reads, and its undo."""

from __future__ import annotations

from tasks.effects import act
from tasks.postgres import clients, rejoining, unmanaged
from tasks.postgres.hands import HANDS
from tasks.postgres.reach import Reach
from tasks.postgres.state import FailoverPlan, MovePlan, RejoinPlan, SwitchoverPlan


def unfence(at: Reach, plan: FailoverPlan) -> str:
    """Give the old primary back, since nobody was promoted."""
    return HANDS[plan.mode].unfence(at, plan)


@act("Fence {plan.old_primary}, so that it can never acknowledge another write.", undo=unfence)
def fence(at: Reach, plan: FailoverPlan) -> str:
    """Make another write of the old primary impossible."""
    return HANDS[plan.mode].fence(at, plan)


def receive_again(at: Reach, plan: FailoverPlan) -> str:
    """Let the standbys follow the old primary again, since nobody was promoted."""
    return HANDS[plan.mode].receive_again(at, plan)


@act("Take the standbys off {plan.old_primary}, so that their positions stand still.", undo=receive_again)
def stop_receiving(at: Reach, plan: FailoverPlan) -> str:
    """Stop every WAL receiver before positions are compared."""
    return HANDS[plan.mode].stop_receiving(at, plan)


@act("Promote {plan.candidate}.", point_of_no_return=True)
def promote(at: Reach, plan: MovePlan) -> str:
    """Make the candidate the primary; from here there is only forward."""
    return HANDS[plan.mode].promote(at, plan)


@act("Lead clients to {plan.candidate}.")
def route_writes(at: Reach, plan: MovePlan) -> str:
    """Point every pooler and environment file at the new primary."""
    return clients.route(at, plan)


@act("Let the other standbys follow {plan.candidate}.")
def follow(at: Reach, plan: MovePlan) -> str:
    """Re-point the siblings, with slots, and wait until they stream."""
    return HANDS[plan.mode].follow(at, plan)


def leave_checkpoint(_at: Reach, _plan: SwitchoverPlan) -> str:
    """Leave the checkpoint: it changes nothing that anybody can see."""
    return "nothing to take back"


@act("Write a checkpoint on {plan.old_primary}, so that its shutdown is short.", undo=leave_checkpoint)
def checkpoint(at: Reach, plan: SwitchoverPlan) -> str:
    """Flush what the shutdown would have to flush while clients wait."""
    return unmanaged.checkpoint(at, plan)


def resume_on_old(at: Reach, plan: SwitchoverPlan) -> str:
    """Let clients go on with the old primary, since nobody was promoted."""
    return clients.resume(at, plan)


@act("Hold clients at the poolers.", undo=resume_on_old)
def pause_clients(at: Reach, plan: SwitchoverPlan) -> str:
    """Let running transactions end and hold the next ones back."""
    return clients.pause(at, plan)


def start_primary(at: Reach, plan: SwitchoverPlan) -> str:
    """Start the old primary again, since nobody was promoted."""
    return HANDS[plan.mode].start_primary(at, plan)


@act("Stop {plan.old_primary}, and wait until {plan.candidate} has its last byte.", undo=start_primary)
def stop_primary(at: Reach, plan: SwitchoverPlan) -> str:
    """Stop the old primary in order; a row that it acknowledged is on the candidate before this ends."""
    return HANDS[plan.mode].stop_primary(at, plan)


@act("Let clients go on.")
def resume_clients(at: Reach, plan: SwitchoverPlan) -> str:
    """Release the clients that wait at the poolers."""
    return clients.resume(at, plan)


@act("Let {plan.old_primary} follow {plan.candidate}.")
def demote(at: Reach, plan: SwitchoverPlan) -> str:
    """Start the old primary as a standby."""
    return HANDS[plan.mode].demote(at, plan)


@act("Make sure that {plan.node} cannot start as a primary.")
def retire(at: Reach, plan: RejoinPlan) -> str:
    """Stop the node if it runs, and make its next start that of a standby."""
    return rejoining.retire(at, plan)


@act("Write a checkpoint on {plan.primary} and keep WAL for {plan.node}.")
def ready_primary(at: Reach, plan: RejoinPlan) -> str:
    """Prepare the primary for a rewind."""
    return rejoining.ready_primary(at, plan)


@act("List and keep what only {plan.node} holds.")
def keep_discarded(at: Reach, plan: RejoinPlan) -> str:
    """Copy the WAL that the rewind will discard."""
    return rejoining.keep_discarded(at, plan)


@act("Bring the files of {plan.node} to the history of {plan.primary}.", point_of_no_return=True)
def bring_back(at: Reach, plan: RejoinPlan) -> str:
    """Rewind, or copy the primary; what the node held before is kept beside it."""
    return rejoining.bring_back(at, plan)


@act("Start {plan.node} behind {plan.primary}.")
def start_following(at: Reach, plan: RejoinPlan) -> str:
    """Start the node as a standby and wait until it streams."""
    return rejoining.start_following(at, plan)
