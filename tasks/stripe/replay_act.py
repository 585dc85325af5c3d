"""What a replay does: keep the events, and bring each to its effect."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from blocks.stripe_api import StripeApi
from tasks.effects import act
from tasks.guard import current
from tasks.stripe.reach import Reach
from tasks.stripe.replay_gather import standing_of
from tasks.stripe.replay_post import Posting
from tasks.stripe.replay_state import ENDED, Backlog, Event, ReplayPlan
from tasks.stripe.replay_work import Pass, Say

BATCH = 1000
HELD_SECONDS = 0.5  #: between two looks at an event that somebody else is at work on


def forget_nothing(_at: Reach, _plan: ReplayPlan, _before: Backlog) -> str:
    """Leave the events in the ledger: kept, they are only known, and nothing was done yet."""
    return "they stay"


@act("Keep {plan.new} events that were never received", undo=forget_nothing)
def keep_events(at: Reach, plan: ReplayPlan, before: Backlog) -> str:
    """Make the events durable first, so that a run that dies leaves a list of what is to be done."""
    kept = keep(at, before.events, current().run.id)
    return f"{kept} kept" + (f"; {plan.new - kept} came in meanwhile" if kept < plan.new else "")


def keep(at: Reach, events: Sequence[Event], run_id: str) -> int:
    """Enter what the ledger did not know; say how many were new."""
    new, kept = [event for event in events if not event.status], 0
    for start in range(0, len(new), BATCH):
        with at.database.writing() as connection:
            kept += at.claims.keep(connection, new[start : start + BATCH], "replay", run_id)
    return kept


@act("Bring {plan.events} events of {plan.objects} objects to their effect", point_of_no_return=True)
def replay_events(at: Reach, plan: ReplayPlan, before: Backlog) -> str:
    """Pass over the events until each is done, given up, or due later than is waited for."""
    with at.apis() as apis:
        passes, waiting = replay(at, plan, before.events, current().run.id, apis, say=current().progress.say)
        requests = sum(api.requests for api in apis.values())
    rest = f"; {waiting} wait for another run" if waiting else ""
    return f"{passes} pass{'es' * (passes != 1)}, {requests} requests to Stripe{rest}"


def replay(  # noqa: PLR0913 - what a run has, without the run
    at: Reach,
    plan: ReplayPlan,
    events: Sequence[Event],
    run_id: str,
    apis: dict[str, StripeApi],
    *,
    say: Say = lambda _sentence, _percent: None,
) -> tuple[int, int]:
    """Do it; say how many passes it took, and how many events are left."""
    work = Pass(at, plan, run_id, apis, say=say)
    way = Posting(work) if plan.mode == "post" else work
    passes, patience = 0, float(plan.wait_seconds)
    # What waits for its next attempt is not tried before, in this run or in another, unless a person asks.
    due, waiting, pause = left(at, events, at_once=plan.at_once)
    while waiting and pause <= patience:
        time.sleep(pause)
        patience -= pause
        if due:
            way.work(due)
            passes += 1
        due, waiting, pause = left(at, events)
        pause = max(pause, way.least_pause)
    return passes, waiting


def left(at: Reach, events: Sequence[Event], *, at_once: bool = False) -> tuple[list[Event], int, float]:
    """Give what is due now, how many are neither done nor given up, and the seconds until one may be due."""
    with at.database.reading() as connection:
        standing = standing_of(at, connection, [(e.account, e.id) for e in events])
    rows = [(e, row) for e in events if (row := standing.get((e.account, e.id))) and row["status"] not in ENDED]

    def wait(row: dict[str, Any]) -> float:
        return HELD_SECONDS if row["held"] else 0.0 if at_once else float(row["due_in"] or 0.0)

    due = [replace(event, attempts=row["attempts"]) for event, row in rows if wait(row) == 0]
    return due, len(rows), min((wait(row) for _, row in rows), default=0.0)
