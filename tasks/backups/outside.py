"""What happened outside the database while it was lost: Stripe knows, and procedures of their own bring it in."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from blocks.errors import SalvorError
from blocks.filled_in import block_names, loaded
from blocks.prefect_runs import PrefectRuns, Standing
from blocks.stripe_account import StripeAccount
from tasks.backups.reach import Reach
from tasks.backups.state import Brought, DisasterPlan, Recovered, RestorePlan
from tasks.guard import current

REPLAY, RESYNC = "stripe-replay", "stripe-resync"
STRIPE_HOURS = 720.0  #: so long Stripe keeps events
MARGIN_HOURS = 1.0
#: A replay of some minutes takes seconds; a longer one must not keep the database from its backup.
REPLAY_SECONDS = 20.0
SETTLE_SECONDS = 30.0
ASK_SECONDS = 0.5


def bring_in(at: Reach, plan: DisasterPlan, after: Recovered) -> str:
    """Replay what Stripe sent in the lost time, and then start the comparison of every row; what fails is judged."""
    if not _wanted(plan):
        return "not wanted" if not plan.reconcile else "nothing was lost"
    try:
        said = [_started(plan, after, account) for account in accounts(at)]
    except SalvorError as error:
        return f"failed: {error}"
    return "; ".join(said) or "no Stripe account pays for a database of this cluster"


def accounts(at: Reach) -> list[str]:
    """Name the Stripe accounts whose database lives on this cluster."""
    names = block_names(StripeAccount) if at.databases else []
    return [name for name in names if loaded(StripeAccount, name).database in at.databases]


def _started(plan: DisasterPlan, after: Recovered, account: str) -> str:
    replay: dict[str, object] = {"hours": hours_lost(plan, after, datetime.now(UTC)), "settle_seconds": 0}
    try:
        ended = _awaited(_start(plan, REPLAY, account, replay), REPLAY_SECONDS)
        if not (ended and ended.over):
            return f"{REPLAY} of {account} goes on: run {RESYNC} when it has ended"
        _start(plan, RESYNC, account, {"dry_run": False})
    except SalvorError as error:
        return f"{account} failed: {error}"
    return f"{REPLAY} of {account} ended {ended.name}; {RESYNC} runs"


def hours_lost(plan: RestorePlan, after: Recovered, now: datetime) -> float:
    """Say how far back Stripe is asked: to the last thing that the recovered database knows, and an hour more."""
    known = after.last_commit or plan.aim.moment or (plan.recorded.at if plan.recorded else None)
    hours = (now - known).total_seconds() / 3600 + MARGIN_HOURS if known else STRIPE_HOURS
    return round(min(max(hours, MARGIN_HOURS), STRIPE_HOURS), 2)


def _start(plan: RestorePlan, procedure: str, account: str, policy: dict[str, object]) -> str:
    prefect, run = PrefectRuns(), current().run
    asked = {"target": account, "policy": policy, "reason": f"{run.procedure} of {plan.target}"}
    asked["requested_by"] = run.requested_by or run.procedure
    return prefect.start(prefect.deployment(procedure), asked, _key(plan, procedure, account))


def _key(plan: RestorePlan, procedure: str, account: str) -> str:
    """Name the run after this recovery, so that whoever goes on with it finds it, and starts no second one."""
    return f"salvor-disaster-{plan.target}-{plan.stamp}-{procedure}-{account}"


def _awaited(run_id: str, seconds: float) -> Standing | None:
    prefect, until = PrefectRuns(), time.monotonic() + seconds
    while not (standing := prefect.standing(run_id)) or not standing.over:
        if time.monotonic() > until:
            break
        time.sleep(ASK_SECONDS)
    return standing


def brought(at: Reach, plan: RestorePlan) -> tuple[Brought, ...]:
    """See how the runs ended that were started for this recovery; one that takes long is not waited for."""
    if not _wanted(plan):
        return ()
    try:
        wanted = [(procedure, account) for account in accounts(at) for procedure in (REPLAY, RESYNC)]
    except SalvorError:  # it was said when they were to be started
        wanted = [(REPLAY, "Stripe"), (RESYNC, "Stripe")]
    return tuple(_brought(plan, procedure, account) for procedure, account in wanted)


def _brought(plan: RestorePlan, procedure: str, account: str) -> Brought:
    run = Brought(procedure=procedure, account=account)
    try:
        if not (run_id := PrefectRuns().begun(_key(plan, procedure, account))):
            return run
        ended = _awaited(run_id, SETTLE_SECONDS)
    except SalvorError:
        return run
    over = {"state": ended.name, "succeeded": ended.kind == "COMPLETED"} if ended and ended.over else {}
    return run.model_copy(update={"run_id": run_id} | over)


def _wanted(plan: RestorePlan) -> bool:
    return isinstance(plan, DisasterPlan) and plan.reconcile and plan.way != "start"
