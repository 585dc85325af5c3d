"""Which tables are brought back, from which set, and whether they came whole. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tasks.backups.decide_restore import aimed, planned, surveyed, unfit
from tasks.backups.extract_state import Beside, Copied, ExtractPlan, Ground, Left, parted
from tasks.backups.judge import identity
from tasks.backups.policies import ExtractPolicy
from tasks.backups.state import Place, View
from tasks.backups.survey import Survey
from tasks.model import Decision, Evidence

SPARE = 1.2  #: a table that is loaded anew, and its indexes, take about what they took
MEGABYTE = 2**20
Names = tuple[tuple[str, str], ...]


def decide_extract(view: View, policy: ExtractPolicy, place: Place, ground: Ground) -> Decision[ExtractPlan]:
    """Decide from which set the tables are taken, in the scratch folder PLACE, and into which schema they go."""
    names = _named(policy)
    if isinstance(names, str):
        return Decision.refuse(names)
    if wrong := _no_ground(view, ground) or _taken(policy, ground):
        return Decision.refuse(wrong)
    made = surveyed(view, policy)
    if isinstance(made, str):
        return Decision.refuse(made)
    if wrong := _unknown(names, made, ground) or _no_room(view, ground) or unfit(place, made):
        return Decision.refuse(wrong)
    aim = aimed(view, policy, made, accept_hole=False)
    if isinstance(aim, str):
        return Decision.refuse(aim)
    return Decision.go(_plan(planned(view, policy, made, place, aim), policy, ground, names, view.primaries[0].name))


def _named(policy: ExtractPolicy) -> Names | str:
    if not policy.tables:
        return "Say in `tables` which tables are wanted, each with its schema, e.g. public.orders."
    found = []
    for text in policy.tables:
        name = parted(text)
        if name is None:
            return f"`{text}` is no table with its schema: write it like public.orders."
        found.append(name)
    twice = [name for name, count in Counter(name for _, name in found).items() if count > 1]
    if twice:
        return f"Two of the tables are called {twice[0]}, and one schema has room for one: run this once for each."
    return tuple(found)


def _no_ground(view: View, ground: Ground) -> str:
    if len(view.primaries) != 1:
        return "The copies go to the primary, and there is no single node that takes writes: recover that first."
    if ground.problem:
        return f"The primary could not be looked at: {ground.problem}"
    if ground.database not in ground.databases:
        known = ", ".join(ground.databases)
        wrong = f"There is no database `{ground.database}`" if ground.database else "It is not clear which is meant"
        return f"{wrong}: say in `database` which of {known} has the tables."
    if not ground.may_create:
        return f"Salvor's role may not make a schema in {ground.database}: GRANT CREATE ON DATABASE to it."
    if ground.published:
        return (
            f"The publication {ground.published} sends every table to its subscribers, the copies too, which they do "
            "not have, so that replication would stop: name its tables one by one, or drop it for that time."
        )
    return ""


def _taken(policy: ExtractPolicy, ground: Ground) -> str:
    if policy.into_schema.startswith("pg_"):
        return "Names that begin with pg_ belong to PostgreSQL: choose another `into_schema`."
    found = next((each for each in ground.schemas if each.schema_name == policy.into_schema), None)
    if found is None or found in _left(ground):
        return ""
    return f"There is already a schema {policy.into_schema} in {ground.database}: choose another `into_schema`."


def _left(ground: Ground) -> tuple[Left, ...]:
    dead = ground.dead
    if dead is None or dead.database != ground.database:
        return ()
    return (*dead.left, Left(schema_name=dead.into, mark=dead.mark))


def _unknown(names: Names, made: Survey, ground: Ground) -> str:
    """Say which table neither the set nor the primary has; a table that was dropped is still known to the set."""
    counted = {fact.name for fact in made.first.facts}
    whole = any(name.startswith(f"{ground.database}.") for name in counted)
    for schema, name in names:
        label = f"{schema}.{name}"
        now = next((each for each in ground.tables if (each.schema_name, each.name) == (schema, name)), None)
        if f"{ground.database}.{label}" in counted or (now and now.there and not now.unfit):
            continue
        if now and now.there:
            return f"{label} cannot be copied: {now.unfit}."
        if whole:
            return f"There is no table {label} in {ground.database}, and the set {made.first.id} had none."
    return ""


def _no_room(view: View, ground: Ground) -> str:
    primary, need = view.primaries[0], int(sum(each.bytes for each in ground.tables) * SPARE)
    return lacking(need, primary.free_bytes, primary.name) if primary.reachable else ""


def lacking(need: int, free: int, node: str) -> str:
    """Say that NODE has no room for so many bytes; empty when it has."""
    if need <= free:
        return ""
    return f"The copies need about {need // MEGABYTE} MB, and {free // MEGABYTE} MB are free on {node}: make room."


def _plan(common: dict[str, object], policy: ExtractPolicy, ground: Ground, names: Names, primary: str) -> ExtractPlan:
    restore = ExtractPlan.model_validate(
        common
        | {"database": ground.database, "tables": names, "onto": primary, "into": "", "mark": ""}
        | {"in_place": False, "others": (), "salvage_from": 0, "deep": False, "protect": False}
    )
    into = policy.into_schema or f"salvor_{restore.stamp.lower()}"
    labels, aim = restore.labels, restore.aim
    size = sum(each.bytes for each in ground.tables) // MEGABYTE
    changes: dict[str, object] = {
        # Who else uses the scratch folder is a drill.
        "resource": f"recovery.drill.{restore.target}",
        "key": f"extract-{ground.database}-{labels}-{aim.kind}-{aim.value}",
        "why": f"Bring {labels} as of {aim.said} back beside what is there: from {restore.chains[0][-1]}, restored in "
        f"the scratch folder, into the schema {into} of {ground.database} on {primary}.",
        "loss": f"Nothing: no table that is there is touched. About {size} MB are written on {primary}, and sent to "
        "its standbys.",
        "into": into,
        "mark": f"Made by Salvor's backup-extract, {restore.stamp}: {labels} as of {aim.said}. Drop it when it is no "
        "longer needed.",
        "left": _left(ground),
        "compare": policy.compare,
    }
    return restore.model_copy(update=changes)


# --- afterwards


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
