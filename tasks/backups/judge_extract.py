"""Whether tables came back whole, and what a person does with them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.backups.extract_state import Beside, Copied, ExtractPlan
from tasks.backups.judge import identity
from tasks.model import Evidence


def judge_extract(plan: ExtractPlan, seen: Beside | None, *, left: str) -> tuple[Evidence, ...]:
    """Judge whether the copies have what the tables had; SEEN is None in a dry run."""
    if seen is None:
        return ()
    silent = Evidence(
        claim="The copy that was restored archived nothing.",
        seen="archiving was on" if seen.copy_said.archiving else "archiving was off",
        holds=not seen.copy_said.archiving,
    )
    gone = Evidence(claim="Nothing is left of it in the scratch folder.", seen=left or "it is empty", holds=not left)
    return (*identity(plan, seen.copy_said), *(_whole(plan, each) for each in seen.tables), silent, gone)


def _whole(plan: ExtractPlan, table: Copied) -> Evidence:
    same = table.same and table.kept == table.there
    counts = f"{_number(table.there)} rows of {_number(table.kept)}"
    seen = table.problem or (f"{counts}, every one the same" if same else f"{counts}, and they are not the same")
    claim = f"{plan.into} has {table.label} as of {plan.aim.said}."
    return Evidence(claim=claim, seen=seen, holds=same and not table.problem)


def _number(count: int | None) -> str:
    return "an unknown number" if count is None else str(count)


def figures_of_extract(seen: Beside | None) -> dict[str, float]:
    """Give the numbers of the report."""
    tables = seen.tables if seen else ()
    found = {
        "rows_copied": sum(each.there or 0 for each in tables) if tables else None,
        "rows_missing_now": _sum(each.missing for each in tables),
        "rows_different_now": _sum(each.different for each in tables),
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def _sum(counts: Iterator[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def next_steps(plan: ExtractPlan, seen: Beside | None) -> tuple[str, ...]:
    """Say what a person does now, and what the copies lack."""
    if seen is None:
        return ()
    said = []
    for each in seen.tables:
        said += [f"What differs in {each.label}: {each.look};"] if each.look else []
        said += [f"To bring back what is missing in {each.label}: {each.back};"] if each.back else []
    lacks = f"The copies have no trigger, foreign key, rule, policy or grant: only Salvor's role may read {plan.into}."
    done = f"When you are done: DROP SCHEMA {plan.into} CASCADE; nobody else does it."
    return (*said, lacks, done)


def sum_up_extract(plan: ExtractPlan, seen: Beside | None) -> str:
    """Say in one sentence what is where now."""
    if seen is None or not seen.tables:
        return ""
    parts = "; ".join(_told(each) for each in seen.tables)
    return f"As of {plan.aim.said}, in the schema {plan.into} of {plan.database} on {plan.onto}: {parts}."


def _told(table: Copied) -> str:
    said = f"{table.label} with {_number(table.there)} rows"
    if table.missing is None or table.different is None:
        return said
    return f"{said}, of which {table.missing} are missing and {table.different} are different in production now"
