"""Stripe requeue: give dead letters all their attempts again.

**Meaning.** Events were given up after their last attempt; each has its error in the table of events.

**Impact.** None: they only wait for the next stripe-replay.

**Diagnosis.** With `dry_run` the report lists which events are meant, by type and error.

**Mitigation.** Mend what the errors name, run this for those ids, types or classes of error, then run stripe-replay.
"""

from __future__ import annotations

import time

from prefect import flow

from flows.procedure import concludes
from tasks.guard import approve
from tasks.model import Report
from tasks.stripe.decide_requeue import decide_requeue, judge_requeue
from tasks.stripe.reach import reach
from tasks.stripe.requeue_act import requeue
from tasks.stripe.requeue_probe import observe_letters
from tasks.stripe.requeue_state import RequeuePolicy


@flow(name="stripe-requeue", flow_run_name="requeue-{target}", description=__doc__, validate_parameters=False)
@concludes
def stripe_requeue(
    target: str,
    policy: RequeuePolicy = RequeuePolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Put events back that were given up.

    Args:
        target: Which Stripe account: the name of its block under Blocks, e.g. shop.
        policy: Which events.
        reason: Why, in your words; kept in the report.
        requested_by: Your name. When an approval is needed, somebody else must give it.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at, now = reach(target), time.time()

    letters = observe_letters(at, policy)
    plan = approve(
        decide_requeue(letters, at.resource, now),
        policy,
        lambda: decide_requeue(observe_letters(at, policy), at.resource, now),
    )

    requeue(at, plan)  # the only act

    return Report(plan=plan, evidence=judge_requeue(plan, observe_letters(at, policy)))
