"""Whether rows are repaired, and which. Pure."""

from __future__ import annotations

from tasks.consistency.repair_policies import RepairPolicy
from tasks.consistency.repair_state import Faults, PlannedRule, RepairPlan
from tasks.consistency.state import Finding, counted
from tasks.model import Decision

SMALL_TABLE = 10_000  #: below so many rows a share says nothing
SHOWN = 5
#: About so many rows a second are repaired, batch after batch; a bench measures it.
ROWS_PER_SECOND = 2000.0
#: WAL of a changed row: the row itself, its copy, and its entries in indexes.
WAL_FACTOR = 3.0
DOES = {
    "quarantine": "move the row into the quarantine",
    "null": "make the columns NULL",
    "copy": "take over what the other table has",
    "set": "give the columns their new values",
    "reset": "let the work be begun again",
    "delete": "delete the row, with no copy",
    "advance": "set the sequence past the largest value",
}


def decide_repair(faults: Faults, policy: RepairPolicy) -> Decision[RepairPlan]:
    """Repair what the rules say, unless it is too much."""
    seen = faults.seen
    to_do = [each for each in seen.findings if each.repair != "report" and _to_do(faults, each)]
    if objection := _objection(faults, to_do, policy):
        return Decision.refuse(objection)
    if not to_do:
        return Decision.nothing(_nothing(faults))
    rules = tuple(_planned(faults, each) for each in to_do)
    rows = sum(each.rows + each.followers for each in rules)
    asked = rows > policy.approve_above_rows
    return Decision.go(
        RepairPlan(
            resource=seen.resource,
            key=f"repair-{seen.definition}",
            once=False,
            why=_why(to_do, rows),
            loss=_loss(rules),
            ask=f"{rows:,} rows would be changed, and above {policy.approve_above_rows:,} a person is asked"
            if asked
            else "",
            definition=seen.definition,
            look=faults.run_id,
            goes_on_for=faults.goes_on_for,
            seen_at=seen.at,
            rows=rows,
            most=_most(faults, rules),
            limits=policy.limits,
            rules=rules,
        )
    )


def decide_again(decision: Decision[RepairPlan], definition: str) -> Decision[RepairPlan]:
    """After the approval: only the rows that were looked at are touched, so only the rules must be the same."""
    if decision.plan is None or decision.plan.definition == definition:
        return decision
    return Decision.refuse("the rules of the pack were changed")


def _to_do(faults: Faults, finding: Finding) -> bool:
    fenced = finding.rule in faults.fences and not finding.unseen
    return bool(finding.found or faults.followers.get(finding.rule)) or fenced


def _objection(faults: Faults, to_do: list[Finding], policy: RepairPolicy) -> str:
    unseen = [each for each in faults.seen.unseen if each.repair != "report"]
    if unseen:
        said = " ".join(f"“{each.rule}”: {each.unseen}" for each in unseen)
        return f"{len(unseen)} rules cannot be repaired as they stand. {said} Or name the other rules in `rules`."
    if to_do and faults.missing_right:
        return faults.missing_right
    too_many = [said for each in to_do if (said := _too_many(faults, each, policy))]
    return " ".join(too_many)


def _too_many(faults: Faults, finding: Finding, policy: RepairPolicy) -> str:
    rows = finding.found + faults.followers.get(finding.rule, 0)
    if rows > policy.max_rows:
        return (
            f"“{finding.rule}” would change {rows:,} rows of {finding.table}, and max_rows is {policy.max_rows:,}."
            " Look at its samples: is the rule right? Then raise max_rows."
        )
    if finding.rows >= SMALL_TABLE and rows > finding.rows * policy.max_share:
        return (
            f"“{finding.rule}” would change {rows:,} rows, {rows / finding.rows:.1%} of {finding.table}, and max_share"
            f" is {policy.max_share:.1%}. Look at its samples: is the rule right? Then raise max_share."
        )
    return ""


def _nothing(faults: Faults) -> str:
    if broken := faults.seen.broken:
        return f"Nothing that may be repaired is wrong. Only reported: {counted(broken)}."
    unseen = faults.seen.unseen
    rest = f" {len(unseen)} could not be looked at: {', '.join(each.rule for each in unseen)}." if unseen else ""
    return f"{len(faults.seen.findings) - len(unseen)} rules hold.{rest}"


def _planned(faults: Faults, finding: Finding) -> PlannedRule:
    more = faults.followers.get(finding.rule, 0)
    rows = finding.found + more
    return PlannedRule(
        rule=finding.rule,
        does=f"{finding.table}: {DOES[finding.repair]}",
        rows=finding.found,
        followers=more,
        share=round(rows / finding.rows, 6) if finding.rows else 0.0,
        fence=faults.fences.get(finding.rule, ""),
        samples=finding.samples[:SHOWN],
        notes=finding.notes,
        seconds=round(rows / ROWS_PER_SECOND + finding.seconds, 1),
        wal_mb=round(rows * faults.bytes_per_row.get(finding.rule, 200.0) * WAL_FACTOR / 1e6, 1),
    )


def _why(to_do: list[Finding], rows: int) -> str:
    broken = [each for each in to_do if each.found]
    if not rows:
        return f"No row is wrong; {len(to_do)} rules still lack what keeps new wrong rows out."
    said = f"{rows:,} wrong rows, by {len(broken)} rules ({counted(broken)})."
    return f"{said} The table of the run's artifacts has of each what is done, and examples."


def _loss(rules: tuple[PlannedRule, ...]) -> str:
    if any(each.does.endswith(DOES["delete"]) and each.rows for each in rules):
        return "Rows that are deleted are gone. Everything else has a before-image: consistency-undo gives it back."
    return "Nothing: every row has a before-image, and consistency-undo gives it back."


def _most(faults: Faults, rules: tuple[PlannedRule, ...]) -> dict[str, int]:
    """Bound what may be changed; a run that goes on for a dead one finds less, and needs no new approval for it."""
    now = {each.rule: each.rows + each.followers for each in rules}
    before = faults.unfinished
    if before is not None and all(rows <= before.get(rule, 0) for rule, rows in now.items()):
        return before
    return now
