"""List Stripe, follow what happened meanwhile, compare with the application's rows. Nothing is written into either."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from tasks.effects import probe
from tasks.guard import current
from tasks.report import artifact_key, log, publish_table
from tasks.stripe.compare import Listing
from tasks.stripe.comparing import AGAIN, compared, compared_again
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.reach import Reach
from tasks.stripe.resync_guards import refuse_misfits, refuse_other_mode
from tasks.stripe.sides import opened, sides_of
from tasks.stripe.spool import Spool
from tasks.stripe.state import Drift, Repaired, ResyncPlan


@probe
def observe_drift(at: Reach, policy: ResyncPolicy) -> Drift:
    """Compare everything that the policy asks for."""
    # Said from here, because only this thread knows the run that the progress bar belongs to.
    current().progress.say("Making sure that key and tables belong together", 0)
    refuse_misfits(at.database, policy)
    with at.apis() as apis:
        for api in apis.values():
            api.confirm()
        refuse_other_mode(at, policy)
        with opened(at, policy, apis) as sides:
            listing = Listing(at.folder / f"differences-{time.time_ns()}.jsonl")
            drift = compared(sides, listing, current().progress.say)
    if listing.shown:
        said = f"What differs from Stripe, the first rows of each table. All of it: {listing.path}"
        publish_table(artifact_key("stripe-resync", at.target, "differences"), listing.shown, said)
    log(f"Every difference is in {listing.path}")
    return drift


@probe
def observe_repaired(at: Reach, plan: ResyncPlan, policy: ResyncPolicy) -> Repaired:
    """Compare again, with what changed in Stripe since taken out."""
    current().progress.say("Comparing again", AGAIN)
    with closing(Spool.of(Path(plan.spool))) as spool, at.apis() as apis:
        return compared_again(sides_of(at, policy, apis, spool), plan, current().run.id)
