"""Look for events that nobody has done, and at what became of them."""

from __future__ import annotations

import time

from tasks.effects import probe
from tasks.guard import current
from tasks.stripe.decide_replay import refused_form, tallied
from tasks.stripe.reach import Reach
from tasks.stripe.replay_gather import Key, Standing, gathered, standing_of
from tasks.stripe.replay_policies import ReplayPolicy
from tasks.stripe.replay_state import DONE, Backlog, Event, ReplayPlan, Seen, Tally, effects_by_type
from tasks.stripe.replay_tell import tell_events

SYNCED = ("customers", "subscriptions", "invoices", "payments")
MODED = (*SYNCED, "stripe_events")  #: whose rows say of which mode they are
TABLES = (*MODED, "event_effects")
OVERLAP_SECONDS = 600  #: the clock of Stripe is not ours


@probe
def observe_events(at: Reach, policy: ReplayPolicy) -> Backlog:
    """List the events of the window at Stripe and hold them against our ledger; give what is to be done."""
    return observed(at, policy, to_write=not current().dry_run)


def observed(at: Reach, policy: ReplayPolicy, *, to_write: bool) -> Backlog:
    """Look, unless something is wrong that needs no look at Stripe."""
    now = time.time()
    until = now - policy.settle_seconds
    seen = Seen(resource=at.resource, at=now, since=now - policy.hours * 3600 - OVERLAP_SECONDS, until=until)
    if refused_form(policy):
        return Backlog(seen)
    if problems := at.database.misfits(TABLES, to_write=to_write) or _other_modes(at):
        return Backlog(seen.model_copy(update={"problems": tuple(problems)}))
    with at.apis() as apis:
        for api in apis.values():
            api.confirm()
        return gathered(at, apis, seen, policy)


def _other_modes(at: Reach) -> list[str]:
    """Name the tables whose rows are of the other mode: the key of a sandbox must not fill a live database."""
    ours, theirs = ("live mode", "a sandbox") if at.account.livemode else ("a sandbox", "live mode")
    with at.database.reading() as connection:
        mode = at.account.livemode
        wrong = [table for table in MODED if at.claims.of_other_mode(connection, table, ours=mode)]
    return [
        f"The rows of {table} are of {theirs}, and the StripeAccount block names {ours}: this is the wrong database or"
        " the wrong key."
        for table in wrong
    ]


@probe
def observe_replayed(at: Reach, plan: ReplayPlan, before: Backlog) -> Tally:
    """Ask the ledger what became of every event of the plan, and of its effects; tell of each event."""
    after, standing = replayed_of(at, plan, before)
    return after.model_copy(update={"file": tell_events(at.target, at.folder, before.events, standing)})


def replayed_of(at: Reach, plan: ReplayPlan, before: Backlog) -> tuple[Tally, Standing]:
    """Count what became of the events and of the effects that they must have."""
    with at.database.reading() as connection:
        standing = standing_of(at, connection, [(e.account, e.id) for e in before.events])
        due = _due(plan, before, standing)
        ids: dict[str, list[str]] = {}
        for account, event in due:
            ids.setdefault(account, []).append(event)
        effects = sum(at.claims.run(connection, "done_effects", account=a, ids=i)[0]["effects"] for a, i in ids.items())
    statuses = [standing.get((e.account, e.id), {"status": "missing"})["status"] for e in before.events]
    counted = {"effects_due": sum(due.values()), "effects": effects}
    return tallied(plan, statuses).model_copy(update=counted), standing


def _due(plan: ReplayPlan, before: Backlog, standing: Standing) -> dict[Key, int]:
    """Give how many effects each event must have that was done."""
    effects = effects_by_type(plan.effects)

    def done(event: Event) -> bool:
        return standing.get((event.account, event.id), {"status": ""})["status"] in DONE

    return {(e.account, e.id): len(effects[e.type]) for e in before.events if e.type in effects and done(e)}
