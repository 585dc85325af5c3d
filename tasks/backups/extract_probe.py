"""Looking at where tables are to go, and at what has come there."""

from __future__ import annotations

from typing import Any

from psycopg import sql

from blocks.errors import SalvorError
from blocks.ledger import operations
from tasks.backups.beside import EXTRACT, filled, schemas_at, tables_at
from tasks.backups.decide_extract import taken_from
from tasks.backups.extract_state import Beside, Copied, ExtractPlan, ExtractPolicy, Ground, parted
from tasks.backups.facts import COUNT_SECONDS
from tasks.backups.outcome_probe import stopped
from tasks.backups.reach import PATIENCE, SCRATCH, SQL, Reach
from tasks.backups.state import Recovered, View
from tasks.effects import probe
from tasks.guard import current
from tasks.report import artifact_key, publish_table
from tasks.waiting import each


@probe
def observe_ground(at: Reach, view: View, policy: ExtractPolicy) -> Ground:
    """Look at the database on the primary that the tables are to come back to."""
    if len(view.primaries) != 1:
        return Ground()
    try:
        ground = _ground(at, view.primaries[0].name, policy)
        return ground.model_copy(update={"counted": _counted(at, view, policy)})
    except SalvorError as error:
        return Ground(problem=str(error))


def _counted(at: Reach, view: View, policy: ExtractPolicy) -> tuple[str, ...]:
    """Name what was counted with the set; a look at the whole repository leaves that out."""
    made = taken_from(view, policy)
    if isinstance(made, str):
        return ()
    listing = at.repository.look(facts_of=made.id)
    return tuple(fact.name for each in listing.sets if each.id == made.id for fact in each.facts)


def _ground(at: Reach, node: str, policy: ExtractPolicy) -> Ground:
    names = tuple(str(row["name"]) for row in at.ask(node, SQL["databases"]))
    own = at.block.databases
    database = policy.database or (own[0] if len(own) == 1 else "")
    if database not in names:
        return Ground(database=database, databases=names)
    row = at.ask(node, EXTRACT["ground"], PATIENCE, database)[0]
    wanted = tuple(name for text in policy.tables if (name := parted(text)))
    dead = operations.left_open(current().ledger, f"recovery.drill.{at.target}", current().run.procedure)
    return Ground(
        database=database,
        databases=names,
        schemas=schemas_at(at, node, database),
        tables=tables_at(at, node, database, wanted) if wanted else (),
        partitioned=tuple(row["partitioned"]),
        published=row["published"] or "",
        may_create=row["may_create"],
        dead=ExtractPlan.model_validate(dead) if dead else None,
    )


@probe
def observe_beside(at: Reach, plan: ExtractPlan) -> Beside | None:
    """Compare each copy with what it was copied from, and with production's own table."""
    if current().dry_run:
        return None
    row = at.ask(SCRATCH, SQL["recovered"])[0]
    copy = Recovered(
        answers=True,
        primary=not row["in_recovery"],
        timeline=row["timeline"],
        system_identifier=row["system_identifier"],
        archiving=row["archiving"],
        stopped=stopped(at, plan, int(row["timeline"])),
    )
    ways = at.ask(plan.onto, filled("ways", plan.tables, plan.into), COUNT_SECONDS, plan.database)
    known = {(way["schema"], way["name"]): way for way in ways}
    tables = tuple(_copied(at, plan, name, known.get(name)) for name in plan.tables)
    _tell(plan, tables)
    return Beside(copy_said=copy, tables=tables)


def _copied(at: Reach, plan: ExtractPlan, name: tuple[str, str], way: dict[str, Any] | None) -> Copied:
    label = ".".join(name)
    question = EXTRACT["content"].replace("{table}", sql.Identifier(plan.into, name[1]).as_string(None))

    def content(node: str) -> dict[str, Any]:
        return at.ask(node, question, COUNT_SECONDS, plan.database)[0]

    try:
        seen = each((SCRATCH, plan.onto), content)
    except SalvorError as error:
        return Copied(label=label, problem=str(error))
    kept, there = seen[SCRATCH], seen[plan.onto]
    found: dict[str, Any] = {"kept": kept["rows"], "there": there["rows"], "same": kept == there}
    if way is None:
        return Copied(label=label, **found)
    found |= {"look": way["look"] or "", "back": way["back"]}
    return Copied(label=label, **found | _differing(at, plan, way["counting"]))


def _differing(at: Reach, plan: ExtractPlan, question: str | None) -> dict[str, Any]:
    if not (question and plan.compare):
        return {}
    try:
        return dict(at.ask(plan.onto, question, COUNT_SECONDS, plan.database)[0])
    except SalvorError:  # the copy is there all the same, and a person can look
        return {}


def _tell(plan: ExtractPlan, tables: tuple[Copied, ...]) -> None:
    """Show the statements whole: the report cuts long ones."""
    rows = [{"table": t.label, "what differs": f"{t.look};", "bring back": f"{t.back};"} for t in tables if t.back]
    publish_table(artifact_key("extract", plan.target), rows, f"{plan.labels} as of {plan.aim.said}, in {plan.into}")
