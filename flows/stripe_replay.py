"""Stripe replay: bring every event of the last hours to its effect, exactly once.

**Meaning.** Webhooks were lost or half processed: the endpoint was down, disabled or wrong, or Stripe gave up.
Customers paid and have no access, or have access and did not pay.

**Impact.** None for clients while this runs: it reads at Stripe, within a share of the rate limit, and writes what the
live endpoint would have written, under the same claims.

**Diagnosis.** The plan says how many events Stripe has, how many of them are done here, and how many were never
received. What Stripe calls undelivered is only a hint; all events minus our own ledger is the truth.

**Mitigation.** Run this, again if it says that events wait for their next attempt; with at_once when you have mended
the cause and need not wait. Dead letters have their error in the table of events: mend it, then run stripe-requeue. If
Stripe itself is down, this stops: run it again later. What is older than 30 days, or changed without an event, is for
stripe-resync.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.guard import approve
from tasks.model import Report
from tasks.stripe.decide_replay import decide_replay, figures_of, judge_replay, unlooked
from tasks.stripe.reach import reach
from tasks.stripe.replay_act import keep_events, replay_events
from tasks.stripe.replay_policies import ReplayPolicy
from tasks.stripe.replay_probe import observe_events, observe_replayed


@flow(name="stripe-replay", flow_run_name="replay-{target}", description=__doc__, validate_parameters=False)
@concludes
def stripe_replay(
    target: str,
    policy: ReplayPolicy = ReplayPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Bring every event of the window to its effect, exactly once.

    Args:
        target: Which Stripe account: the name of its block under Blocks, e.g. shop.
        policy: How far back, and how.
        reason: Why, in your words; kept in the report.
        requested_by: Your name. When an approval is needed, somebody else must give it.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach(target)

    before = observe_events(at, policy)
    plan = approve(
        decide_replay(before, policy),
        policy,
        lambda: decide_replay(observe_events(at, policy), policy),
    )

    keep_events(at, plan, before)
    replay_events(at, plan, before)  # the point of no return

    after = observe_replayed(at, plan, before)
    return Report(
        plan=plan,
        evidence=judge_replay(plan, after),
        figures=figures_of(plan, after),
        unverified=unlooked(plan, after),
    )
