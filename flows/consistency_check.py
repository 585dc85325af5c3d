"""Consistency check: look whether the rows of an application are as its rules say; change nothing.

**Meaning.** After a failover, a restore or a bug, rows may point to nothing, keys may be doubled, statuses disagree,
jobs hang. The rules of a pack say what must be true; this looks with each of them, at one moment, read-only.

**Impact.** None on the database but the reading: one transaction that cannot write, on a standby where the pack names
one. What it finds can be wrong money, locked-out users, or work that nobody does.

**Diagnosis.** `Unverified` names the broken rules; the table artifact has the first wrong rows of each, the other table
how it was before. A rule that could not be looked at is never taken for one that holds: its sentence says what to mend.

**Mitigation.** Run consistency-repair as it stands: a dry run with the plan. It runs every hour, and after every
failover of a cluster that names the database; on-call is told when more is wrong than before.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.consistency.judge_check import figures_of, judge_rules, sum_up, unlooked
from tasks.consistency.policies import CheckPolicy
from tasks.consistency.probe import observe_rows, remember
from tasks.consistency.reach import reach
from tasks.consistency.tell import tell_rows
from tasks.model import Report


@flow(name="consistency-check", flow_run_name="check-{target}", description=__doc__, validate_parameters=False)
@concludes
def consistency_check(
    target: str,
    policy: CheckPolicy = CheckPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Look at the rows of an application with the rules of its pack.

    Args:
        target: Which database: the name of its AppDatabase block under Blocks, e.g. shop.
        policy: Which rules, and who is told.
        reason: Why, in your words; kept in the report.
        requested_by: Your name.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach(target, policy)

    seen = observe_rows(at, policy)
    known = remember(seen, policy)
    tell_rows(seen)

    return Report(
        evidence=judge_rules(seen),
        figures=figures_of(seen),
        unverified=unlooked(seen),
        why=sum_up(seen),
        known=known,
    )
