"""What is done to bring a database back from a set: each act with the sentence the operator reads, and its undo."""

from __future__ import annotations

from blocks.errors import SalvorError, StandDown
from blocks.postgres_host import ScriptFailed
from blocks.restoring import Restoring, SetUnfit
from tasks.backups import admitting, dumping, files, offsite, outside, recovering, taking
from tasks.backups.reach import Reach
from tasks.backups.state import Chain, DisasterPlan, Recovered, RestorePlan
from tasks.effects import act
from tasks.guard import current
from tasks.report import log


def leave_copies(_at: Reach, _plan: DisasterPlan) -> str:
    """Leave the sets that were brought back: they only add to the repository."""
    return "nothing to take back"


@act("Bring the repository back from its copy offsite, where it is lost.", undo=leave_copies)
def bring_back_sets(at: Reach, plan: DisasterPlan) -> str:
    """Fill the empty repository with the newest whole copy."""
    if not plan.offsite or recovering.in_place(at, plan) or at.repository.look().sets:
        return "it is there"
    return offsite.bring_back(at, plan.restore_seconds)


def thaw(at: Reach, plan: RestorePlan) -> str:
    """Let old sets expire again."""
    recovering.let_go(at, plan)
    at.repository.thaw()
    return "thawed"


@act("Freeze the repository: nothing expires until this is over.", undo=thaw)
def freeze(at: Reach, plan: RestorePlan) -> str:
    """Keep what the recovery may still need."""
    try:
        at.repository.freeze(f"{current().run.procedure} of {plan.target}, begun {plan.stamp}")
    except SalvorError as error:  # a repository that cannot be written can still be restored from
        return f"not frozen: {error}"
    return "frozen"


def start_services(at: Reach, plan: RestorePlan) -> str:
    """Let clients and services go on as before, since nothing was replaced."""
    return admitting.go_on(at, plan)


@act("Stop what uses the database, and hold clients at the poolers.", undo=start_services)
def stop_services(at: Reach, plan: RestorePlan) -> str:
    """Stop services, the last first, and hold clients."""
    return admitting.hold(at, plan)


def start_nodes(at: Reach, plan: RestorePlan) -> str:
    """Start the servers again that were stopped."""
    return recovering.start_again(at, plan)


@act("Stop every server of the cluster, so that none acknowledges a write that is then gone.", undo=start_nodes)
def stop_nodes(at: Reach, plan: RestorePlan) -> str:
    """Stop all of them, each with a standby.signal, and prove that no process is left."""
    return recovering.stop_all(at, plan)


def drop_salvaged(at: Reach, plan: RestorePlan) -> str:
    """Remove what was copied out: the old directory lives on, and its newest file would hide the whole one later."""
    if plan.salvage_from and recovering.in_place(at, plan):
        return "it is kept: what was recovered with it stays in its place"
    at.repository.drop_stream(plan.stamp)
    return "removed"


@act("Copy the WAL that never reached the repository out of the old directory.", undo=drop_salvaged)
def salvage_wal(at: Reach, plan: RestorePlan) -> str:
    """Turn seconds of loss into none, where the old directory still has the last WAL."""
    if not plan.salvage_from or recovering.in_place(at, plan):
        return "there is none to copy"
    restoring = at.restoring(plan.node)
    return restoring.salvage(plan.stamp, plan.salvage_from, at.repository.segment_bytes, plan.restore_seconds)


def leave_copy(_at: Reach, _plan: RestorePlan) -> str:
    """Leave what was copied beside the data directory: the next run goes on from there."""
    return "it is kept for the next run"


@act("Copy the set beside the data directory of {plan.node}, and prove it while it is copied.", undo=leave_copy)
def fetch_set(at: Reach, plan: RestorePlan) -> str:
    """Copy the best set; one that is damaged is marked as bad, and the next best is taken."""
    return fetched(at, plan)


def fetched(at: Reach, plan: RestorePlan) -> str:
    """Copy the best of the sets that is whole."""
    if plan.way != "restore" or recovering.in_place(at, plan):
        return "nothing to copy"
    restoring, said = at.restoring(plan.node), []
    for chain in plan.chains:
        recovering.hold_sets(at, plan, chain)
        try:
            how = _copied(restoring, chain, plan.restore_seconds)
        except SetUnfit as error:
            said.append(recovering.condemned(at, chain, error))
            log(f"  {said[-1]}", warn=True)
            continue
        return "; ".join([*said, f"{chain[-1]} {how}, and passes"])
    raise StandDown(f"No set is whole: {'; '.join(said)}.")


def _copied(restoring: Restoring, chain: Chain, seconds: int) -> str:
    try:
        return restoring.copy(chain, seconds)
    except SetUnfit as error:
        if error.bad:
            raise
        restoring.remove()  # what an earlier attempt left is damaged, and not the set
        return restoring.copy(chain, seconds)
    except ScriptFailed as error:
        raise StandDown(f"{error} What was copied is kept: make room or mend it, and run this again.") from error


def put_back(at: Reach, plan: RestorePlan) -> str:
    """Give the old directory its place back."""
    return recovering.put_back(at, plan)


@act("Let the restored copy take the place of the data directory of {plan.node}, which is kept.", undo=put_back)
def put_in_place(at: Reach, plan: RestorePlan) -> str:
    """Configure the copy, and exchange the directories by two renames."""
    if plan.way != "restore":
        return "its own directory stays"
    recovering.prepare(at, plan)
    return at.restoring(plan.node).exchange(plan.stamp)


def stop_restored(at: Reach, plan: RestorePlan) -> str:
    """Stop the restored server."""
    return recovering.stop(at, plan)


@act("Start it, and let it replay the WAL up to {plan.aim.said}.", undo=stop_restored)
def recover(at: Reach, plan: RestorePlan) -> str:
    """Recover to the target, which is always explicit, and wait until it takes writes."""
    return recovering.recover(at, plan)


@act("Lead clients to {plan.node}, and start services again.", point_of_no_return=True)
def admit(at: Reach, plan: RestorePlan) -> str:
    """From here on rows are written that the old directory does not have."""
    return admitting.admit(at, plan)


@act("Restore files, Redis and MongoDB to where they are meant to go, where that is wanted.")
def restore_files(at: Reach, plan: RestorePlan) -> str:
    """Bring back what was kept with the set; what fails is judged, for the database is back by now."""
    said = []
    try:
        name = at.restoring(plan.node).look()["chain"].split()[-1] if plan.files_into or plan.mongo else ""
        said += [dumping.restore_mongo(at, name, plan)] if plan.mongo else []
        said += [files.restore_files(at, name, plan.files_into, plan.restore_seconds)] if plan.files_into else []
    except (SalvorError, LookupError) as error:
        said.append(f"failed: {error}")
    return "; ".join(said) or "not wanted"


@act("Bring in what happened at Stripe in the time that was lost: stripe-replay, then stripe-resync.")
def reconcile(at: Reach, plan: DisasterPlan, after: Recovered) -> str:
    """Start the procedures that know how, and wait for the first only."""
    return outside.bring_in(at, plan, after)


@act("Protect it again: stream its WAL, take a full set, and let old sets expire.")
def protect(at: Reach, plan: RestorePlan) -> str:
    """Keep a set of the new history; without one it has no backup."""
    return f"{protected(at, plan)}; {thaw(at, plan)}"


def protected(at: Reach, plan: RestorePlan) -> str:
    """Stream and take a full set, unless that was not wanted, or an earlier run has done it."""
    if not plan.protect or plan.way == "failover":
        return "not wanted"
    if plan.way == "start":
        return taking.stream(at, plan.node, plan.system_identifier, anew=False)
    if recovering.is_protected(at, plan):
        return "already done"
    said = taking.stream(at, plan.node, plan.system_identifier, anew=True)
    return f"{said}; {taking.take(at, recovering.new_set(at, plan))}"
