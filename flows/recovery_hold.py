"""Recovery hold: the kill switch, and the maintenance or freeze window.

**Meaning.** Somebody wants no recovery to begin on a target (or, with target `*`, on anything) for some hours.

**Impact.** Every procedure on it ends as *Refused* at its gate, naming this hold, its reason and who placed it. A run
that has passed its gate goes on; cancel it in the UI if it must stop too.

**Diagnosis.** The report lists what is held and until when; every refused run says which hold refused it.

**Mitigation.** Run this again with `hours` 0 to lift the hold; it also ends by itself.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.guard import approve
from tasks.holds.act import hold_or_lift
from tasks.holds.decide import Asked, HoldPolicy, decide_hold, judge_hold
from tasks.holds.probe import observe_holds
from tasks.model import Report


@flow(name="recovery-hold", flow_run_name="hold-{target}", description=__doc__, validate_parameters=False)
@concludes
def recovery_hold(
    target: str,
    policy: HoldPolicy = HoldPolicy(),  # noqa: B008  # frozen
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Begin no recovery of a target for some hours, or lift that.

    Args:
        target: What is held: the name of a cluster, e.g. orders, or * for everything.
        policy: For how long, from when.
        reason: Why, in your words; whoever is refused reads it.
        requested_by: Your name; whoever is refused reads it.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    asked = Asked(target=target, reason=reason, by=requested_by)

    before = observe_holds()
    plan = approve(decide_hold(before, policy, asked), policy, lambda: decide_hold(observe_holds(), policy, asked))

    hold_or_lift(plan)  # the only act

    after = observe_holds()
    return Report(plan=plan, evidence=judge_hold(plan, after))
