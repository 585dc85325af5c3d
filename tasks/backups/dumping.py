"""Logical copies of databases: kept with a set, and loaded into a server that is made for them."""

from __future__ import annotations

from typing import Any

from blocks import dumps, mongo
from blocks.backup_records import BackupSet, Dump
from blocks.errors import SalvorError, StandDown
from blocks.restoring import SetUnfit
from tasks.backups import recovering
from tasks.backups.facts import databases
from tasks.backups.reach import SCRATCH, Reach
from tasks.backups.state import RestorePlan, TakePlan


def keep(at: Reach, plan: TakePlan) -> dict[str, Any]:
    """Copy what is copied row by row, and give what the set says of it; what fails is said, and the set is kept."""
    kept, missing = _databases(at, plan) if at.block.dumps else ([], [])
    said: dict[str, Any] = {"dumps": tuple(kept)}
    if at.block.mongo_url.get_secret_value():
        try:
            said["mongo"] = mongo.keep(at.block, plan.set_id, plan.take_seconds)
        except SalvorError as error:
            missing.append(str(error))
    return said | {"missing": tuple(missing)}


def _databases(at: Reach, plan: TakePlan) -> tuple[list[Dump], list[str]]:
    kept, missing = [], []
    for database in databases(at, plan.node):
        source = at.conninfo(plan.node, database)
        try:
            kept.append(dumps.keep(at.block, plan.set_id, source, database, plan.take_seconds))
        except SalvorError as error:
            missing.append(f"logical copy: {error}")
    try:
        dumps.keep_roles(at.block, plan.set_id, at.conninfo(plan.node))
    except SalvorError as error:
        missing.append(f"roles: {error}")
    return kept, missing


def make(at: Reach, plan: RestorePlan) -> str:
    """Make an empty server in the scratch folder."""
    recovering.hold_sets(at, plan, plan.chains[0])
    try:
        _unpacking(at, plan).make(at.cluster.user, at.cluster.password.get_secret_value(), plan.restore_seconds)
        at.node(SCRATCH).write_settings(recovering.apart(at))
    except SalvorError as error:
        raise StandDown(str(error)) from error
    return "an empty server is made"


def load(at: Reach, plan: RestorePlan) -> str:
    """Start it and load every database that was kept; a server that holds but some of them is stopped again."""
    node, made, to = at.node(SCRATCH), _set(at, plan), at.conninfo(SCRATCH, dumps.MADE)
    node.start(plan.recover_seconds)
    try:
        for dump in made.dumps:
            _unpacking(at, plan).load(dump, to, plan.restore_seconds)
    except SalvorError as error:
        node.stop("kill", recovering.STOP_SECONDS)
        advice = " Take another with backup-take." if isinstance(error, SetUnfit) else ""
        raise StandDown(f"{error}{advice}") from error
    return f"loaded {', '.join(each.database for each in made.dumps)}"


def _unpacking(at: Reach, plan: RestorePlan) -> dumps.Unpacking:
    return dumps.Unpacking(at.node(SCRATCH), at.block.directory, plan.chains[0][-1])


def _set(at: Reach, plan: RestorePlan) -> BackupSet:
    name = plan.chains[0][-1]
    made = next((each for each in at.repository.look().sets if each.id == name), None)
    if made is None:
        raise StandDown(f"The set {name} is no longer there: run this again.")
    return made


def restore_mongo(at: Reach, name: str, plan: RestorePlan) -> str:
    """Put the MongoDB that was kept with the set NAME to where it is meant to go."""
    kept = next((each.mongo for each in at.repository.look().sets if each.id == name), None)
    return mongo.restore(at.block, name, kept, plan.restore_seconds) if kept else f"{name} holds no MongoDB"
