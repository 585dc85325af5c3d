"""Consistency suggest: read the tables of an application, and propose rules for its rule pack; change nothing.

**Meaning.** A column such as `user_id` points to a row of another table, and often no foreign key makes sure that it is
there. For each of these an orphan rule is proposed, and for each column that a sequence fills, that it is not behind.

**Impact.** It reads the catalog and some rows of each such table, in one transaction that cannot write; each sample has
a time limit.

**Diagnosis.** The artifact that the report names has the rules as YAML, each with what its name and the sample say,
what is broken already first; below them the columns for which nothing is proposed, and why.

**Mitigation.** Read the rules: a name can deceive. Paste them into a RulePack block with the name of the database, and
run consistency-check, which looks at every row. Rules that the pack has already are not proposed again.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.consistency.decide_suggest import decide_proposal, figures_of, judge_proposal, sum_up, unlooked
from tasks.consistency.policies import SuggestPolicy
from tasks.consistency.suggest_probe import ground, observe_tables
from tasks.consistency.suggest_tell import tell_proposal
from tasks.model import Report


@flow(name="consistency-suggest", flow_run_name="suggest-{target}", description=__doc__, validate_parameters=False)
@concludes
def consistency_suggest(
    target: str,
    policy: SuggestPolicy = SuggestPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Propose rules for the tables of an application.

    Args:
        target: Which database: the name of its AppDatabase block under Blocks, e.g. shop.
        policy: Which tables, and how many of their rows are looked at.
        reason: Why, in your words; kept in the report.
        requested_by: Your name.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = ground(target, policy)

    seen = observe_tables(at, policy)
    proposal = decide_proposal(seen, policy.most_missing_percent)
    shown = tell_proposal(seen, proposal)

    return Report(
        evidence=judge_proposal(seen, proposal, shown=shown),
        figures=figures_of(seen, proposal),
        unverified=unlooked(seen),
        why=sum_up(seen, proposal),
        known=True,  # whoever runs it reads it
    )
