"""Which events are replayed, grouped how, and whether it worked. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from tasks.model import Decision, Evidence
from tasks.stripe.replay_state import (
    DONE,
    HORIZON_HOURS,
    SET_ASIDE,
    Event,
    Group,
    Letter,
    Look,
    ReplayPlan,
    ReplayPolicy,
    RequeuePlan,
    Seen,
    Tally,
)

#: The row that an object of Stripe changes: its table, and the fields that lead to the row's id.
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "customer": ("customers", ("id",)),
    "subscription": ("subscriptions", ("id",)),
    "invoice": ("invoices", ("id",)),
    "payment_intent": ("payments", ("id",)),
    "charge": ("payments", ("payment_intent",)),
    "refund": ("payments", ("payment_intent",)),
    "invoice_payment": ("payments", ("payment", "payment_intent")),
}
PREFIXES = {"cus_": "customers", "sub_": "subscriptions", "in_": "invoices", "pi_": "payments"}
NEVER_MADE = "v2.core.health.event_generation_failure.resolved"
MANY_TYPES = 20
BASE_SECONDS, CAP_SECONDS = 1.0, 600.0
SHOWN_TYPES = 8


def about(body: Mapping[str, Any]) -> tuple[str, str]:
    """Say which table and row an event is about; ("", "") when none of ours."""
    if body.get("object") == "v2.core.event":
        named = (body.get("related_object") or {}).get("id") or ""
        return (_table_of(named), named) if _table_of(named) else ("", named)
    thing = (body.get("data") or {}).get("object") or {}
    table, path = ROWS.get(str(thing.get("object")), ("", ("id",)))
    found: Any = thing
    for step in path:
        found = found.get(step) if isinstance(found, Mapping) else None
    found = found.get("id") if isinstance(found, Mapping) else found
    return (table, str(found)) if table and found else ("", str(found or ""))


def named_in(body: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """List the objects whose events Stripe says it could never make."""
    if body.get("type") != NEVER_MADE:
        return ()
    return tuple(sorted({(_table_of(each), each) for each in _ids(body.get("data"))}))


def _ids(value: object) -> Iterable[str]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _ids(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _ids(each)
    elif isinstance(value, str) and _table_of(value):
        yield value


def _table_of(identity: str) -> str:
    return next((table for prefix, table in PREFIXES.items() if identity.startswith(prefix)), "")


def grouped(events: Iterable[Event]) -> tuple[Group, ...]:
    """Put the events of one object together, in the order of their making (which decides nothing)."""
    groups: dict[tuple[str, str, str], dict[str, Event]] = defaultdict(dict)
    for event in events:
        key = event.key if event.table else (event.account, "", event.id)
        groups[key][event.id] = event
    return tuple(
        Group(*key, events=tuple(sorted(found.values(), key=lambda e: (e.created, e.id))))
        for key, found in sorted(groups.items())
    )


def worth_listing(wanted: int, found_on_last_page: int | None) -> bool:
    """Whether another page of a list answers more objects than one retrieve would: the cheaper way is taken."""
    return wanted > 1 and (found_on_last_page is None or found_on_last_page > 1)


def backoff(attempt: int, retry_after: float, uniform: Callable[[float, float], float]) -> float:
    """Give the seconds until an event is tried again: full jitter, and never before Stripe allows it."""
    return max(retry_after, uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2 ** min(attempt, 20))))


def decide_replay(look: Look, policy: ReplayPolicy) -> Decision[ReplayPlan]:
    """Replay what nobody has done, or say why not."""
    seen, events = look.seen, look.events
    if why := _refusal(seen, events, policy):
        return Decision.refuse(why)
    if not events:
        return Decision.nothing(
            f"Every one of the {seen.stripe} events of the last {policy.hours:g} h is done:"
            f" {seen.already} applied, {seen.aside} set aside, {seen.dead} dead letters."
        )
    return Decision.go(_plan(seen, events, policy))


def _refusal(seen: Seen, events: Sequence[Event], policy: ReplayPolicy) -> str:
    if why := refused_form(policy) or " ".join(seen.problems):
        return why
    if len(events) > policy.max_events:
        return f"{len(events)} events would be replayed, more than max_events allows ({policy.max_events})."
    return ""


def refused_form(policy: ReplayPolicy) -> str:
    """Say what in the form cannot be done; empty when all can."""
    if policy.hours > HORIZON_HOURS:
        return (
            f"Stripe keeps events for {HORIZON_HOURS} hours (30 days), so {policy.hours:g} hours cannot be replayed:"
            " run stripe-resync, which compares the objects themselves."
        )
    if len(policy.types) > MANY_TYPES:
        return f"Stripe takes at most {MANY_TYPES} types at once: leave types empty to replay all of them."
    if policy.mode == "post" and not policy.endpoint_url:
        return "Say in endpoint_url where the application takes webhooks, or choose the mode apply."
    if wrong := [each for each in policy.effects if "=" not in each]:
        return f"An effect is written as type=effect, e.g. invoice.paid=send-receipt; {wrong[0]} is not."
    return ""


def _plan(seen: Seen, events: Sequence[Event], policy: ReplayPolicy) -> ReplayPlan:
    ids = sorted(f"{e.account}/{e.id}" for e in events)
    digest = sha256("\n".join(ids).encode()).hexdigest()[:16]
    objects = len({e.key for e in events if e.table})
    new = sum(not e.status for e in events)
    skipped = sum(not e.table and not e.named for e in events)
    counted = Counter(e.type for e in events).most_common()
    return ReplayPlan(
        resource=seen.resource,
        key=f"replay-{digest}-{seen.at:.0f}",
        once=False,
        why=f"{len(events)} of {seen.stripe + len(events) - new} events are not done: {new} were never received,"
        f" {len(events) - new} were received and not finished. They concern {objects} objects.",
        loss="Nothing is lost: every object is looked up at Stripe, and an older look never overwrites a newer one.",
        since=seen.since,
        until=seen.until,
        stripe=seen.stripe,
        undelivered=seen.undelivered,
        already=seen.already,
        events=len(events),
        new=new,
        objects=objects,
        skipped=skipped,
        events_digest=digest,
        mode=policy.mode,
        endpoint_url=policy.endpoint_url,
        answer_means=policy.answer_means,
        effects=tuple(sorted((a, b) for a, _, b in (each.partition("=") for each in policy.effects))),
        attempts=policy.attempts,
        workers=policy.workers,
        wait_seconds=policy.wait_seconds,
        by_type=tuple(counted),
        unknown=seen.unknown,
    )


def tallied(statuses: Iterable[str], already: int) -> Tally:
    """Count what became of the events; ALREADY were done before."""
    counted = Counter(statuses)
    waiting = sum(n for status, n in counted.items() if status not in DONE | SET_ASIDE | {"dead"})
    return Tally(
        seen=sum(counted.values()) + already,
        applied=counted["processed"],
        already=already,
        superseded=counted["superseded"],
        skipped=counted["skipped"],
        dead=counted["dead"],
        waiting=waiting,
    )


def judge_replay(plan: ReplayPlan, after: Tally) -> tuple[Evidence, ...]:
    """Say whether every event is accounted for, none is left, and each effect is there once."""
    settled = after.applied + after.already + after.superseded + after.skipped + after.dead
    return (
        Evidence(
            claim="every event that was seen is accounted for: seen = applied + already applied + superseded +"
            " set aside + dead",
            seen=f"{after.seen} = {after.applied} + {after.already} + {after.superseded} + {after.skipped} +"
            f" {after.dead}",
            holds=after.seen == settled and after.seen == plan.events + after.already,
        ),
        Evidence(
            claim="no event is left unprocessed",
            seen=f"{after.waiting} wait for another attempt, {after.dead} are dead letters",
            holds=after.waiting == 0,
        ),
        *judge_effects(plan, after),
    )


def judge_effects(plan: ReplayPlan, after: Tally) -> tuple[Evidence, ...]:
    """Each effect of an event that was applied is entered exactly once; an application reached by HTTP does its own."""
    if plan.mode == "post":
        return ()
    return (
        Evidence(
            claim="each effect happened exactly once",
            seen=f"{after.effects} of {after.effects_due} effects are entered",
            holds=after.effects == after.effects_due,
        ),
    )


def figures_of(after: Tally) -> dict[str, float]:
    """Return what was counted, for the report."""
    return {name: float(value) for name, value in after.model_dump().items()}


def unlooked(plan: ReplayPlan, after: Tally) -> tuple[str, ...]:
    """Say what was not done, so that nobody takes silence for proof."""
    said = []
    if plan.unknown:
        said.append(f"Kept and set aside, because they are about nothing of ours: {', '.join(plan.unknown)}.")
    if after.dead:
        said.append(f"{after.dead} events are dead letters: see why with stripe-requeue (dry_run), mend it, put back.")
    said.append("Objects that changed without an event, and what is older than the window: stripe-resync compares.")
    return tuple(said)


def decide_requeue(letters: Sequence[Letter], resource: str, at: float) -> Decision[RequeuePlan]:
    """Put the dead letters back that are meant."""
    if not letters:
        return Decision.nothing("No dead letter fits what was asked for.")
    errors = Counter(f"{each.type}: {each.error_class or 'no class'}: {(each.error or '')[:120]}" for each in letters)
    shown = "; ".join(f"{n}x {what}" for what, n in errors.most_common(SHOWN_TYPES))
    ids = tuple((each.account, each.event_id) for each in letters)
    return Decision.go(
        RequeuePlan(
            resource=resource,
            key=f"requeue-{at:.3f}",
            once=False,
            why=f"{len(letters)} events were given up ({shown}).",
            loss="Nothing is lost: the next stripe-replay tries them again, with all their attempts.",
            letters=ids,
            count=len(letters),
        )
    )


def judge_requeue(plan: RequeuePlan, left: Sequence[Letter]) -> tuple[Evidence, ...]:
    """Say whether none of them is given up any more."""
    still = {(each.account, each.event_id) for each in left} & set(plan.letters)
    return (
        Evidence(
            claim=f"{plan.count} events wait for the next replay",
            seen=f"{len(still)} of them are still given up",
            holds=not still,
        ),
    )
