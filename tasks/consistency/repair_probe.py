"""Look for the rows to be repaired, and look again afterwards."""

from __future__ import annotations

from blocks.ledger import findings, operations
from tasks.consistency import fences, stores
from tasks.consistency.compile import compiled
from tasks.consistency.detect import Found
from tasks.consistency.followers import followers
from tasks.consistency.looking import Look
from tasks.consistency.reach import Reach
from tasks.consistency.repair_policies import RepairPolicy
from tasks.consistency.repair_state import Faults, Repaired, RepairPlan
from tasks.consistency.state import definition_of
from tasks.effects import probe
from tasks.guard import current, refuse_if_patient

PROCEDURE = "consistency-repair"


@probe
def observe_faults(at: Reach, policy: RepairPolicy) -> Faults:
    """Look with every rule at one moment, and keep the rows that a repair would change."""
    recovery, most = current(), policy.max_rows + 1
    refuse_if_patient(recovery.ledger, [at.database.address])
    look, all_found = Look(at, policy, most, recovery.progress.say), []
    with look.found() as found:
        all_found = list(found)
        checks = [each.check for each in all_found if each.check.table and each.check.wrong]
        rows = {each.check.rule.name: each.rows for each in all_found if each.check.change}
        following = followers(look.connection, checks, rows, most)
    for each in all_found:
        if each.check.change:
            more = following.get(each.check.rule.name, [])
            findings.keep(recovery.ledger, recovery.run.id, each.check.rule.name, each.rows + more[:most])
    return Faults(
        seen=look.seen(),
        run_id=recovery.run.id,
        missing_right=_missing_right(at),
        followers={rule: len(rows) for rule, rows in following.items() if rows},
        fences={each.check.rule.name: _fence(each) for each in all_found if each.check.fence},
        bytes_per_row={each.check.rule.name: _bytes(each) for each in all_found},
        unfinished=_unfinished(at, look.seen().definition),
        goes_on_for=_goes_on_for(at, look.seen().definition),
    )


@probe
def observe_rules(at: Reach, policy: RepairPolicy) -> str:
    """Read the rules again, as they are now."""
    return definition_of(at.rules(policy))


@probe
def observe_repaired(at: Reach, plan: RepairPlan, policy: RepairPolicy) -> Repaired:
    """Look again with the rules that were repaired, on the database itself, and count what became of every row."""
    recovery = current()
    planned = [each.rule for each in plan.rules]
    again = policy.model_copy(update={"rules": tuple(planned)})
    look = Look(at, again, policy.max_rows + 1, recovery.progress.say, on_replica=False)
    still, newly = {}, {}
    with look.found() as found:
        for each in found:
            rule = each.check.rule.name
            before = set(findings.keys(recovery.ledger, plan.look, rule))
            now = {key for key, _ in each.rows}
            still[rule], newly[rule] = len(now & before), each.finding.found - len(now & before)
        accounts = stores.accounts(look.connection, recovery.run.id)
        rules = at.rules(again)
        checks, _ = compiled(rules, at.catalog(look.connection, rules))
        standing = {check.rule.name: fences.holds(look.connection, check) for check in checks}
    seen = look.seen()
    return Repaired(
        accounts=tuple(accounts.values()),
        still_wrong=still,
        newly_wrong=newly,
        unseen=tuple(f"{each.rule}: {each.unseen}" for each in seen.unseen),
        fences={rule: standing.get(rule, False) for rule in plan.fenced},
        seconds=round(sum(each.seconds for each in seen.findings), 3),
    )


def _fence(found: Found) -> str:
    fence = found.check.fence
    assert fence is not None  # noqa: S101 - who calls this has looked
    return f"{fence.kind} {fence.name}"


def _bytes(found: Found) -> float:
    table = found.check.table
    return table.bytes / table.rows if table and table.rows > 0 else 200.0


def _missing_right(at: Reach) -> str:
    with at.database.reading() as connection:
        return stores.missing_right(connection)


def _unfinished(at: Reach, definition: str) -> dict[str, int] | None:
    plan = operations.unfinished(current().ledger, at.resource, PROCEDURE)
    if not plan or plan.get("definition") != definition:
        return None
    return dict(plan["most"])


def _goes_on_for(at: Reach, definition: str) -> tuple[str, ...]:
    plan = operations.left_open(current().ledger, at.resource, PROCEDURE)
    if not plan or plan.get("definition") != definition:
        return ()
    return (plan["look"], *plan["goes_on_for"])
