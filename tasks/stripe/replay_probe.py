"""Look for events that nobody has done: at Stripe, in our ledger, and in what the two do not share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise
from typing import Any

from pydantic_core import from_json, to_json

from blocks.app_database import Connection
from blocks.stripe_api import StripeApi
from tasks.effects import probe
from tasks.guard import current
from tasks.stripe.decide_replay import about, named_in, refused_form, tallied
from tasks.stripe.replay_reach import ReplayReach
from tasks.stripe.replay_state import (
    DONE,
    OVERLAP_SECONDS,
    SET_ASIDE,
    Event,
    Letter,
    Look,
    ReplayPlan,
    ReplayPolicy,
    RequeuePolicy,
    Seen,
    Tally,
)

PAGE = 100
WINDOWS = 4  #: of time, listed side by side: as many requests as the limit bears are under way at once
TABLES = ("customers", "subscriptions", "invoices", "payments", "stripe_events", "event_effects")


@probe
def observe_events(at: ReplayReach, policy: ReplayPolicy) -> Look:
    """List the events of the window at Stripe and hold them against our ledger; give what is to be done."""
    now = time.time()
    until = now - policy.settle_seconds
    since = now - policy.hours * 3600 - OVERLAP_SECONDS
    if refused_form(policy):  # nobody need be asked
        return Look(Seen(resource=at.resource, at=now, since=since, until=until))
    problems = at.database.misfits(TABLES, to_write=not current().dry_run)
    seen = Seen(resource=at.resource, at=now, since=since, until=until, problems=tuple(problems))
    if problems:
        return Look(seen)
    found: list[Event] = []
    undelivered = 0
    with at.apis() as apis:
        for account, api in apis.items():
            api.confirm()
            found += _window(api, account, seen, policy.types)
            undelivered += _undelivered(api, seen, policy.types)
    with at.database.reading() as connection:
        return _compared(at, connection, seen.model_copy(update={"undelivered": undelivered}), found, policy.types)


def _window(api: StripeApi, account: str, seen: Seen, types: tuple[str, ...]) -> list[Event]:
    """List all events of the window, in several half-open windows of time at once."""
    low, high = int(seen.since), int(seen.until)
    edges = sorted({low + (high - low) * n // WINDOWS for n in range(WINDOWS + 1)})
    pairs = list(pairwise(edges))
    with ThreadPoolExecutor(WINDOWS) as pool:
        parts = pool.map(lambda pair: list(_listed(api, pair, types)), pairs)
        bodies = [body for part in parts for body in part]
    return [event_of(body, account) for body in bodies]


def _listed(api: StripeApi, window: tuple[int, int], types: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    params: dict[str, Any] = {"limit": PAGE, "created": {"gte": window[0], "lt": window[1]}}
    if types:
        params["types"] = list(types)
    while True:
        page = from_json(api.get("/v1/events", params))
        yield from page["data"]
        if not page.get("has_more") or not page["data"]:
            return
        params["starting_after"] = page["data"][-1]["id"]


def _undelivered(api: StripeApi, seen: Seen, types: tuple[str, ...]) -> int:
    """Count what Stripe says that some endpoint has not taken: a hint for the report, never the truth."""
    params: dict[str, Any] = {
        "limit": PAGE,
        "delivery_success": False,
        "created": {"gte": int(seen.since), "lt": int(seen.until)},
    }
    if types:
        params["types"] = list(types)
    return len(from_json(api.get("/v1/events", params))["data"])


def event_of(body: dict[str, Any], account: str) -> Event:
    """Take what we keep out of an event; the rest stays in its payload."""
    table, object_id = about(body)
    created = body["created"]
    return Event(
        account=body.get("account") or account,
        id=body["id"],
        type=body["type"],
        table=table,
        object_id=object_id,
        created=created if isinstance(created, int | float) else _seconds(created),
        api_version=body.get("api_version") or "",
        livemode=bool(body.get("livemode")),
        payload=to_json(body).decode(),
        named=named_in(body),
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _compared(at: ReplayReach, connection: Connection, seen: Seen, found: list[Event], types: tuple[str, ...]) -> Look:
    known = standing_of(at, connection, found)
    mine = at.claims.run(connection, "unfinished", until=seen.until, accounts=list(at.accounts))
    todo = {(e.account, e.id): e for e in (_own(row) for row in mine) if not types or e.type in types}
    for event in found:
        if (event.account, event.id) not in known:
            todo[event.account, event.id] = event
    statuses = [row["status"] for row in known.values()]
    livemode = at.account.livemode
    strange = [e for e in todo.values() if e.livemode != livemode]
    changes = {
        "stripe": len({(e.account, e.id) for e in found}),
        "already": sum(status in DONE for status in statuses),
        "aside": sum(status in SET_ASIDE for status in statuses),
        "dead": statuses.count("dead"),
        "held": sum(bool(row["held"]) for row in known.values()),
        "unknown": tuple(sorted({e.type for e in todo.values() if not e.table and not e.named})),
        "problems": (_other_mode(strange, livemode=livemode),) if strange else (),
    }
    return Look(seen.model_copy(update=changes), list(todo.values()))


def _other_mode(strange: list[Event], *, livemode: bool) -> str:
    mode = "live mode" if livemode else "a sandbox"
    return (
        f"{len(strange)} events (e.g. {strange[0].id}) are not of {mode}, which the StripeAccount block names:"
        " this is the wrong database or the wrong key."
    )


def _own(row: dict[str, Any]) -> Event:
    body = from_json(row["payload"]) if row["payload"] else {}
    table, object_id = about(body)
    named = named_in(body)
    return Event(
        **{name: row[name] for name in ("account", "type", "created", "livemode", "status", "attempts")},
        id=row["event_id"],
        table=table,
        object_id=object_id or row["object_id"] or "",
        api_version=row["api_version"] or "",
        payload=row["payload"] or "{}",
        named=named,
    )


def standing_of(at: ReplayReach, connection: Connection, events: list[Event]) -> dict[tuple[str, str], dict[str, Any]]:
    """Ask the ledger about EVENTS, all at once for each account."""
    known = {}
    for account in {e.account for e in events}:
        ids = sorted({e.id for e in events if e.account == account})
        for row in at.claims.run(connection, "standing", account=account, ids=ids):
            known[account, row["event_id"]] = row
    return known


@probe
def observe_replayed(at: ReplayReach, plan: ReplayPlan, before: Look) -> Tally:
    """Ask the ledger what became of every event of the plan, and of its effects."""
    events = list(before.events)
    with at.database.reading() as connection:
        standing = standing_of(at, connection, events)
        statuses = [standing.get((e.account, e.id), {"status": "missing"})["status"] for e in events]
        wanted = _due(plan, events, standing)
        effects = sum(
            at.claims.run(connection, "done_effects", account=a, ids=ids)[0]["effects"] for a, ids in wanted.items()
        )
    tally = tallied(statuses, before.seen.already)
    handlers = dict(_handlers(plan))
    due = sum(
        len(handlers.get(e.type, ())) for e in events if standing.get((e.account, e.id), {}).get("status") in DONE
    )
    return tally.model_copy(update={"effects_due": due, "effects": effects})


def _handlers(plan: ReplayPlan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for kind, name in plan.effects:
        found.setdefault(kind, []).append(name)
    return found


def _due(plan: ReplayPlan, events: list[Event], standing: dict[Any, dict[str, Any]]) -> dict[str, list[str]]:
    kinds = set(_handlers(plan))
    due: dict[str, list[str]] = {}
    for event in events:
        done = standing.get((event.account, event.id), {}).get("status") in DONE
        if done and event.type in kinds:
            due.setdefault(event.account, []).append(event.id)
    return due


@probe
def observe_letters(at: ReplayReach, policy: RequeuePolicy) -> tuple[Letter, ...]:
    """List the dead letters that are meant."""
    statuses = ["dead", "skipped"] if policy.skipped else ["dead"]
    asked = {"ids": list(policy.ids), "types": list(policy.types), "classes": list(policy.classes)}
    with at.database.reading() as connection:
        rows = at.claims.run(connection, "dead", statuses=statuses, limit=policy.max_events, **asked)
    return tuple(Letter(**row) for row in rows)
