"""Put rows right, and keep new wrong ones out."""

from __future__ import annotations

from collections import deque

from blocks.errors import StandDown
from blocks.ledger import findings, steps
from tasks.consistency import fences, stores
from tasks.consistency.batches import Work, Writer, repaired
from tasks.consistency.checks import Advance, Check
from tasks.consistency.compile import compiled
from tasks.consistency.reach import Reach
from tasks.consistency.repair_policies import RepairPolicy
from tasks.consistency.repair_state import RepairPlan
from tasks.consistency.state import definition_of
from tasks.consistency.throttle import Throttle
from tasks.effects import act
from tasks.guard import current
from tasks.report import log


@act("Add what keeps new wrong rows out ({plan.fences})")
def raise_fences(at: Reach, plan: RepairPlan, policy: RepairPolicy) -> str:
    """Add constraints for new rows; consistency-undo takes them away again."""
    recovery = current()
    checks = _checks(at, plan, policy)
    with at.database.writing() as connection:
        stores.make(connection)
        stores.take(connection, at.target, recovery.token)
        stores.begin(connection, recovery.run.id, plan.goes_on_for)
    said = [fences.raised(at.database, check, recovery.run.id) for check in checks if not _late(plan, check)]
    return "; ".join(each for each in said if each) or "there is none to add now"


@act("Put {plan.rows:,} rows right, in batches of {plan.limits.batch_ms:g} ms", point_of_no_return=True)
def repair_rows(at: Reach, plan: RepairPlan, policy: RepairPolicy) -> str:
    """Change the rows that were found and are still wrong; each keeps its before-image, or goes to the quarantine."""
    recovery = current()
    checks = [check for check in _checks(at, plan, policy) if check.wrong and check.change]
    works = []
    for check in checks:
        keys = findings.keys(recovery.ledger, plan.look, check.rule.name)
        works.append(Work(check, deque(keys), len(keys)))
    with at.database.reading() as connection:
        catalog = at.catalog(connection, at.rules(policy))
    done, total = 0, sum(work.found for work in works)

    def tell(rule: str, rows: int) -> None:
        nonlocal done
        done += rows
        recovery.progress.say(f"{rule}: {done:,} of {total:,} rows", 30 + 50 * done / max(1, total))

    with at.database.session() as connection, at.database.outside() as beside:
        throttle = Throttle(beside, plan.limits, log)

        def admit() -> str:
            return steps.stopped(recovery.ledger, recovery.run.id, recovery.token) or throttle.admit()

        writer = Writer(
            database=at.database,
            connection=connection,
            run_id=recovery.run.id,
            target=at.target,
            token=recovery.token,
            catalog=catalog,
            target_ms=plan.limits.batch_ms,
        )
        stopped = repaired(writer, works, admit, tell)
    return f"stopped, because {stopped}" if stopped else f"{done:,} rows were gone through"


@act("Set sequences past the largest value of their column")
def advance_sequences(at: Reach, plan: RepairPlan, policy: RepairPolicy) -> str:
    """Advance every sequence that is behind; it never goes back."""
    said = []
    for check in _checks(at, plan, policy):
        if isinstance(check.change, Advance):
            with at.database.writing() as connection:
                stores.settle(connection)
                rows = connection.execute(check.change.statement).fetchall()
            said += [f"{check.rule.name}: now at {row[0]}" for row in rows]
    return "; ".join(said) or "none is behind"


@act("Prove that this holds for every row ({plan.fences})")
def prove_fences(at: Reach, plan: RepairPlan, policy: RepairPolicy) -> str:
    """Validate the constraints, and build the unique indexes; no writer waits for either."""
    run_id, checks = current().run.id, _checks(at, plan, policy)
    said = [fences.raised(at.database, check, run_id) for check in checks if _late(plan, check)]
    said += [fences.proved(at.database, check, run_id) for check in checks]
    return "; ".join(each for each in said if each) or "there is none to prove"


def _late(plan: RepairPlan, check: Check) -> bool:
    """Whether a foreign key would keep the rows it points to, of which some go, from going."""
    return any(each.rule == check.rule.name and each.followers for each in plan.rules)


def _checks(at: Reach, plan: RepairPlan, policy: RepairPolicy) -> list[Check]:
    """Write the rules of the plan in SQL again, for the catalog as it is now."""
    rules = at.rules(policy)
    if definition_of(rules) != plan.definition:
        raise StandDown("The rules of the pack were changed since the plan was made: run this again.")
    wanted = {each.rule for each in plan.rules}
    with at.database.reading() as connection:
        checks, misfits = compiled([each for each in rules if each.name in wanted], at.catalog(connection, rules))
    if misfits:
        raise StandDown(f"The tables were changed since the plan was made: {' '.join(misfits[0].reasons)}")
    return checks
