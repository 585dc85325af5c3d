"""Which tables are brought back, from which set, and to where. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from blocks.backup_records import BackupSet
from tasks.backups.aims import aimed
from tasks.backups.decide_dump import dumped, from_dump
from tasks.backups.decide_restore import planned, surveyed, unfit
from tasks.backups.extract_state import ExtractPlan, ExtractPolicy, Ground, Left, parted
from tasks.backups.state import Place, View
from tasks.model import Decision

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
    made = taken_from(view, policy)
    if isinstance(made, str):
        return Decision.refuse(made)
    if wrong := _unknown(names, made, ground) or _no_room(view, ground):
        return Decision.refuse(wrong)
    common = from_dump(view, policy, place, made) if policy.source == "dump" else _from_files(view, policy, place)
    if isinstance(common, str):
        return Decision.refuse(common)
    return Decision.go(_plan(common, policy, ground, names, view.primaries[0].name))


def taken_from(view: View, policy: ExtractPolicy) -> BackupSet | str:
    """Say which set the tables are taken from; or why there is none."""
    if policy.source == "dump":
        return dumped(view, policy)
    made = surveyed(view, policy)
    return made if isinstance(made, str) else made.first


def _from_files(view: View, policy: ExtractPolicy, place: Place) -> dict[str, Any] | str:
    made = surveyed(view, policy)
    if isinstance(made, str):
        return made
    if wrong := unfit(place, made):
        return wrong
    aim = aimed(view, policy, made, accept_hole=False)
    return aim if isinstance(aim, str) else planned(view, policy, made, place, aim)


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


def _unknown(names: Names, made: BackupSet, ground: Ground) -> str:
    """Say which table neither the set nor the primary has; a table that was dropped is still known to the set.

    Not so a partition, whose rows are counted with those of its parent: whether there was one the copy will say.
    """
    counted = {fact.name for fact in made.facts} | set(ground.counted)
    whole = any(name.startswith(f"{ground.database}.") for name in counted)
    for schema, name in names:
        label = f"{schema}.{name}"
        now = next((each for each in ground.tables if (each.schema_name, each.name) == (schema, name)), None)
        if f"{ground.database}.{label}" in counted or (now and now.there and not now.unfit):
            continue
        if now and now.there:
            return f"{label} cannot be copied: {now.unfit}."
        if whole and schema not in ground.partitioned:
            return f"There is no table {label} in {ground.database}, and the set {made.id} had none."
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
