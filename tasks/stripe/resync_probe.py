"""List Stripe, follow what happened meanwhile, compare with the application's rows. Nothing is written into either."""

from __future__ import annotations

import re
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from prefect.settings import get_current_settings

from blocks import app_audit, app_users
from blocks.app_database import AppDatabase, Connection
from blocks.app_rows import SyncedRows
from blocks.errors import Misconfigured
from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeStopped
from tasks.effects import probe
from tasks.guard import current
from tasks.report import artifact_key, log, publish_table
from tasks.stripe.compare import Comparison, Listing, confirm_absences
from tasks.stripe.decide_resync import keeper_of
from tasks.stripe.kinds import TABLES, fields_of
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.replay_reach import ReplayReach
from tasks.stripe.spool import Shelf, Spool
from tasks.stripe.state import Drift, Duplicate, Orphan, Repaired, ResyncPlan
from tasks.stripe.sweep import Sweep
from tasks.stripe.tail import Tail
from tasks.stripe.windows import Windows

ROUNDS = 3
DAY_SECONDS = 86_400
AHEAD_SECONDS = 86_400  #: Stripe's clock may be ahead of ours


@probe
def observe_drift(at: ReplayReach, policy: ResyncPolicy) -> Drift:
    """Compare everything that the policy asks for."""
    refuse_misfits(at.database, policy)
    shelf = Shelf(_folder(at.target))
    with at.api(at.account.account) as api:
        api.confirm()
        refuse_other_mode(at, policy)
        since = _midnight() - policy.since_days * DAY_SECONDS if policy.since_days else 0
        with closing(shelf.take(_asked(at, policy, since))) as spool:
            try:
                return _compared(at, policy, api, spool, since)
            finally:
                shelf.release()


def _compared(at: ReplayReach, policy: ResyncPolicy, api: StripeApi, spool: Spool, since: int) -> Drift:
    begun, tail = time.monotonic(), Tail(api, spool)
    sweep = listed(api, spool, policy, since)
    seconds = time.monotonic() - begun
    kinds = [kind.name for table in policy.objects for kind in TABLES[table]]
    moment = tail.catch_up(kinds, policy.workers)
    comparisons = [Comparison(SyncedRows(at.database, t, fields_of(t)), spool, since) for t in policy.objects]
    listing = Listing(spool.path.parent / f"differences-{time.time_ns()}.jsonl")
    for _ in range(ROUNDS):
        with at.database.reading() as connection:
            tables = listing.write(connection, comparisons)
            duplicates = _doubled(at.database, connection, spool, policy)
            orphans = _orphaned(at.database, connection, spool, policy)
        if not confirm_absences(comparisons, api, policy.workers):
            break
    spool.note("complete", True)
    if listing.shown:
        said = f"What differs from Stripe, the first rows of each table. All of it: {listing.path}"
        publish_table(artifact_key("stripe-resync", at.target, "differences"), listing.shown, said)
    log(f"Every difference is in {listing.path}")
    return Drift(
        resource=at.resource,
        at=datetime.fromtimestamp(moment, UTC),
        account=api.block.account,
        tables=tuple(tables),
        duplicates=duplicates,
        orphans=orphans,
        unknown=tuple(f"{status} ({number:,})" for status, number in sorted(sweep.unknown.items())),
        spool=str(spool.path),
        file=str(listing.path),
        digest=listing.digest,
        requests=api.requests,
        refusals=api.refusals,
        seconds=seconds,
        events=tail.events,
    )


def listed(api: StripeApi, spool: Spool, policy: ResyncPolicy, since: int) -> Sweep:
    """Read all lists, or what is left of them."""
    until, lists = int(time.time()) + AHEAD_SECONDS, {}
    for kind in (kind for table in policy.objects for kind in TABLES[table]):
        # What pays for a payment may be older than it, or younger; the payment itself counts.
        first = since if kind is TABLES[_table_of(kind.name)][0] else max(0, since - 90 * DAY_SECONDS)
        lists[kind.name] = (kind, spool.windows(kind.name) or Windows.whole(first, until))
    sweep = Sweep(api, spool, lists, current().progress.say)
    sweep.run(policy.workers)
    return sweep


def refuse_misfits(database: AppDatabase, policy: ResyncPolicy) -> None:
    """Raise Misconfigured when the mapping does not fit the catalog."""
    wrong = database.misfits(policy.objects, to_write=not policy.dry_run)
    wrong += database.misfits(["users"], to_write=policy.duplicates == "repair" and not policy.dry_run)
    wrong += [
        f"{database.table(table).table} has no column of when Stripe made the object, so since_days cannot be used."
        for table in policy.objects
        if policy.since_days and "created_at" not in database.table(table).columns()
    ]
    if wrong:
        raise Misconfigured("The AppDatabase block does not fit the database. " + " ".join(wrong))


def refuse_other_mode(at: ReplayReach, policy: ResyncPolicy) -> None:
    """Raise StripeStopped when the rows are of another mode than the account."""
    with at.database.reading() as connection:
        for table in policy.objects:
            modes = SyncedRows(at.database, table, fields_of(table)).livemodes(connection)
            if modes - {at.account.livemode}:
                ours, theirs = ("live mode", "a sandbox") if not at.account.livemode else ("a sandbox", "live mode")
                raise StripeStopped(
                    f"{at.database.table(table).table} has rows of {ours}, and the account is in {theirs}: this key"
                    " and this database do not belong together."
                )


def _doubled(
    database: AppDatabase, connection: Connection, spool: Spool, policy: ResyncPolicy
) -> tuple[Duplicate, ...]:
    found = app_users.duplicates(database, connection)
    live, doubled = spool.live_customers() if found else set(), []
    for customer, users, owner in found:
        named = spool.key("customers", customer)
        keeper, why = keeper_of(tuple(users), int(named) if named.isdigit() else owner, live=customer in live)
        if not {"customers", "subscriptions"} <= set(policy.objects):
            keeper, why = None, "customers and subscriptions were not compared, so it cannot be told who owns it"
        doubled.append(Duplicate(customer=customer, users=tuple(users), keeper=keeper, why=why))
    return tuple(doubled)


def _orphaned(database: AppDatabase, connection: Connection, spool: Spool, policy: ResyncPolicy) -> tuple[Orphan, ...]:
    found = app_users.orphans(database, connection)
    return tuple(
        Orphan(payment=payment, parent=parent, healed=spool.known(table, parent))
        for payment, table, parent in found
        if table in policy.objects
    )


@probe
def observe_repaired(at: ReplayReach, plan: ResyncPlan, policy: ResyncPolicy) -> Repaired:
    """Compare again, with what changed in Stripe since taken out."""
    spool = Spool(Path(plan.spool))
    with closing(spool), at.api(at.account.account) as api:
        tail, since = Tail(api, spool), int(spool.noted("asked", {}).get("since", 0))
        moment = tail.catch_up([kind.name for table in policy.objects for kind in TABLES[table]], policy.workers)
        moving = {(_table_of(kind), spool.key(kind, i) or i) for kind, i in tail.changed if kind != "customers"}
        moving |= {("customers", i) for kind, i in tail.changed if kind == "customers"}
        tables, left, late = [], [], []
        with at.database.reading() as connection:
            for name in policy.objects:
                comparison = Comparison(SyncedRows(at.database, name, fields_of(name)), spool, since)
                for each in comparison.differences(connection):
                    if (name, each.id) in moving:
                        comparison.counts[each.operation] -= 1
                        late.append(f"{name} {each.id}")
                    elif each.operation in plan.operations:
                        left.append(f"{name} {each.id}")
                tables.append(comparison.drift())
            duplicates = _doubled(at.database, connection, spool, policy)
            audited = app_audit.count(connection, current().run.id) if app_audit.exists(connection) else 0
    return Repaired(
        at=datetime.fromtimestamp(moment, UTC),
        tables=tuple(tables),
        left=tuple(left[:100]),
        moving=tuple(late[:100]),
        duplicates=duplicates,
        audited=audited,
    )


def _table_of(kind: str) -> str:
    return next(table for table, kinds in TABLES.items() if kind in {each.name for each in kinds})


def _asked(at: ReplayReach, policy: ResyncPolicy, since: int) -> dict[str, object]:
    block = at.account
    return {"account": block.account, "version": block.api_version, "objects": list(policy.objects), "since": since}


def _midnight() -> int:
    return int(time.time()) // DAY_SECONDS * DAY_SECONDS


def _folder(target: str) -> Path:
    home = get_current_settings().home
    return Path(home).expanduser() / "salvor" / "stripe" / re.sub(r"[^A-Za-z0-9_-]", "_", target)
