"""Which events are replayed, and whether it worked. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256

from tasks.model import Decision, Evidence
from tasks.stripe.replay_policies import ReplayPolicy
from tasks.stripe.replay_state import ENDED, Backlog, Event, ReplayPlan, Seen, Tally

HORIZON_HOURS = 720  #: Stripe keeps events for 30 days
BASE_SECONDS, CAP_SECONDS = 1.0, 600.0


def worth_listing(wanted: int, found_on_last_page: int | None) -> bool:
    """Whether another page of a list answers more objects than one retrieve would: the cheaper way is taken."""
    return wanted > 1 and (found_on_last_page is None or found_on_last_page > 1)


def backoff(attempt: int, retry_after: float, uniform: Callable[[float, float], float]) -> float:
    """Give the seconds until an event is tried again: full jitter, and never before Stripe allows it."""
    return max(retry_after, uniform(0, min(CAP_SECONDS, BASE_SECONDS * 2 ** min(attempt, 20))))


def decide_replay(backlog: Backlog, policy: ReplayPolicy) -> Decision[ReplayPlan]:
    """Replay what nobody has done, or say why not."""
    seen, events = backlog.seen, backlog.events
    if why := refused_form(policy) or " ".join(seen.problems) or _too_many(seen, events, policy):
        return Decision.refuse(why)
    if not events:
        return Decision.nothing(
            f"Every one of the {seen.stripe} events of the last {policy.hours:g} h is done:"
            f" {seen.already} applied, {seen.aside} set aside, {seen.dead} dead letters."
        )
    return Decision.go(_plan(seen, events, policy))


def refused_form(policy: ReplayPolicy) -> str:
    """Say what in the form cannot be done; empty when all can."""
    if policy.hours > HORIZON_HOURS:
        return (
            f"Stripe keeps events for {HORIZON_HOURS} hours (30 days), so {policy.hours:g} hours cannot be replayed:"
            " run stripe-resync, which compares the objects themselves."
        )
    if wild := [each for each in policy.types if "*" in each]:
        return f"A type of event is written out, e.g. invoice.paid; {wild[0]} is not."
    if policy.mode == "post" and not policy.endpoint_url:
        return "Say in endpoint_url where the application takes webhooks, or choose the mode apply."
    if wrong := [each for each in policy.effects if "=" not in each]:
        return f"An effect is written as type=effect, e.g. invoice.paid=send-receipt; {wrong[0]} is not."
    return ""


def _too_many(seen: Seen, events: Sequence[Event], policy: ReplayPolicy) -> str:
    if not seen.cut and len(events) <= policy.max_events:
        return ""
    stopped = f" when the listing was stopped, at {seen.stripe} events of Stripe's" if seen.cut else ""
    return (
        f"{len(events)} events that nobody has done were found{stopped}, and max_events allows {policy.max_events}:"
        " raise it, or choose fewer hours or only some types."
    )


def _plan(seen: Seen, events: Sequence[Event], policy: ReplayPolicy) -> ReplayPlan:
    ids = sorted(f"{e.account}/{e.id}" for e in events)
    digest = sha256("\n".join(ids).encode()).hexdigest()[:16]
    objects = len({e.key for e in events if e.table} | {each for e in events for each in e.named})
    new = sum(not e.status for e in events)
    same = set(ReplayPlan.model_fields) & set(Seen.model_fields)
    chosen = ("mode", "endpoint_url", "answer_means", "attempts", "at_once", "workers", "wait_seconds")
    return ReplayPlan(
        **seen.model_dump(include=same) | {name: getattr(policy, name) for name in chosen},
        key=f"replay-{digest}-{seen.at:.0f}",
        once=False,
        why=f"{len(events)} of {seen.stripe + seen.own} events were not done: {new} had never been received,"
        f" {len(events) - new} were received and not finished. They concern {objects} objects.",
        loss="Nothing is lost: every object is looked up at Stripe, and an older look never overwrites a newer one.",
        events=len(events),
        new=new,
        objects=objects,
        events_digest=digest,
        effects=policy.pairs,
        by_type=tuple(Counter(e.type for e in events).most_common()),
    )


def tallied(plan: ReplayPlan, statuses: Iterable[str]) -> Tally:
    """Count what became of the events of the plan, beside those of the window that had ended before."""
    counted = Counter(statuses)
    return Tally(
        seen=plan.stripe + plan.own,
        applied=counted["processed"],
        already=plan.already,
        superseded=counted["superseded"],
        skipped=counted["skipped"] + plan.aside,
        dead=counted["dead"] + plan.dead,
        waiting=sum(n for status, n in counted.items() if status not in ENDED),
        left_alone=plan.left_alone,
    )


def judge_replay(plan: ReplayPlan, after: Tally) -> tuple[Evidence, ...]:
    """Say whether every event is accounted for, none is left, and each effect is there once."""
    parts = [after.applied, after.already, after.superseded, after.skipped, after.dead]
    claim = "every event that was seen is accounted for: seen = applied + already applied + superseded + set aside"
    claim += " + dead"
    if after.left_alone:
        parts, claim = [*parts, after.left_alone], f"{claim} + left alone"
    return (
        Evidence(claim=claim, seen=f"{after.seen} = {' + '.join(map(str, parts))}", holds=after.seen == sum(parts)),
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


def figures_of(plan: ReplayPlan, after: Tally) -> dict[str, float]:
    """Return what was counted, for the report."""
    counted = after.model_dump(exclude={"file"}) | {"undelivered": plan.undelivered, "never_received": plan.new}
    return {name: float(value) for name, value in counted.items()}


def unlooked(plan: ReplayPlan, after: Tally) -> tuple[str, ...]:
    """Say what was not done, so that nobody takes silence for proof."""
    said = [f"Every event, and what became of it: {after.file} on the machine that ran this."] if after.file else []
    if plan.unknown:
        said.append(f"Kept and set aside, because they are about nothing of ours: {', '.join(plan.unknown)}.")
    if after.dead:
        said.append(f"{after.dead} events are dead letters: see why with stripe-requeue (dry_run), mend it, put back.")
    if after.waiting:
        said.append(f"{after.waiting} events wait for their next attempt: run this again, or with at_once.")
    if plan.thin:
        said.append(f"Thin events were not looked at: {plan.thin}")
    said.append("Objects that changed without an event, and what is older than the window: stripe-resync compares.")
    return tuple(said)
