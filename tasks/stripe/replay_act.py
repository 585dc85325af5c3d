"""What a replay does: keep the events, bring each to its effect, put dead letters back."""

from __future__ import annotations

import time
from collections.abc import Sequence

from blocks.errors import Misconfigured, Transient
from blocks.webhook_door import WebhookDoor, WebhookRefused
from tasks.effects import act
from tasks.guard import current
from tasks.stripe.replay_probe import standing_of
from tasks.stripe.replay_reach import ReplayReach
from tasks.stripe.replay_state import DONE, SET_ASIDE, Event, Look, ReplayPlan, RequeuePlan
from tasks.stripe.replay_work import Pass

BATCH = 1000
HELD_SECONDS = 0.5  #: between two looks at an event that somebody else is at work on


def forget_nothing(_at: ReplayReach, _plan: ReplayPlan, _before: Look) -> str:
    """Leave the events in the ledger: kept, they are only known, and nothing was done yet."""
    return "they stay"


@act("Keep {plan.new} events that were never received.", undo=forget_nothing)
def keep_events(at: ReplayReach, plan: ReplayPlan, before: Look) -> str:
    """Make the events durable first, so that a run that dies leaves a list of what is to be done."""
    new, kept = [event for event in before.events if not event.status], 0
    for start in range(0, len(new), BATCH):
        with at.database.writing() as connection:
            kept += at.claims.keep(connection, new[start : start + BATCH], "replay", current().run.id)
    return f"{kept} of {plan.new} kept; the others came in meanwhile"


@act("Bring {plan.events} events of {plan.objects} objects to their effect.", point_of_no_return=True)
def replay_events(at: ReplayReach, plan: ReplayPlan, before: Look) -> str:
    """Pass over the events until each is done, given up, or due later than is waited for."""
    run_id, until = current().run.id, time.monotonic() + plan.wait_seconds
    todo, passes, requests = list(before.events), 0, 0
    with at.apis() as apis:
        work = Pass(at, plan, run_id, apis)
        while todo:
            if plan.mode == "post":
                _post(work, todo)
            else:
                work.work(todo)
            passes += 1
            todo, pause = _left(at, before.events)
            pause = max(pause, HELD_SECONDS if plan.mode == "post" else 0.0)
            if not todo or time.monotonic() + pause > until:
                break
            time.sleep(pause)
        requests = sum(api.requests for api in apis.values())
    rest = f"; {len(todo)} wait for another run" if todo else ""
    return f"{passes} passes, {requests} requests to Stripe{rest}"


def _left(at: ReplayReach, events: Sequence[Event]) -> tuple[list[Event], float]:
    """Give what is neither done nor given up, and the seconds until the first of it is due."""
    with at.database.reading() as connection:
        standing = standing_of(at, connection, list(events))
    ended = DONE | SET_ASIDE | {"dead"}
    open_ = [e for e in events if standing.get((e.account, e.id), {"status": "dead"})["status"] not in ended]
    rows = [standing[e.account, e.id] for e in open_]
    pause = min((HELD_SECONDS if row["held"] else row["due_in"] or 0.0 for row in rows), default=0.0)
    due = [e for e, row in zip(open_, rows, strict=True) if not row["held"] and (row["due_in"] or 0.0) <= pause]
    return due or open_, max(pause, 0.05)


def _post(work: Pass, events: Sequence[Event]) -> None:
    """Send EVENTS to the application's endpoint, each signed anew over exactly the bytes that are sent."""
    secrets = work.at.account.webhook_secrets
    if not secrets:
        raise Misconfigured("There is no signing secret: add the endpoint's to webhook_secrets of the account's block.")
    with WebhookDoor(work.plan.endpoint_url, secrets[0].get_secret_value()) as door:
        for event in sorted(events, key=lambda e: (e.created, e.id)):
            try:
                door.deliver(event.payload)
            except Transient as error:
                work.failed([event], error, "transient")
            except WebhookRefused as error:
                work.failed([event], error, "permanent", limit=1)
            else:
                # Whoever keeps the table himself is still at it: to end his event now would be to lose its effects.
                if work.plan.answer_means == "done":
                    work.delivered(event)


@act("Put {plan.count} dead letters back.", point_of_no_return=True)
def requeue(at: ReplayReach, plan: RequeuePlan) -> str:
    """Give them all their attempts again; the next replay takes them up."""
    with at.database.writing() as connection:
        found = at.claims.run(
            connection,
            "requeue",
            accounts=[account for account, _ in plan.letters],
            ids=[event for _, event in plan.letters],
            run_id=current().run.id,
        )
    return f"{len(found)} put back"
