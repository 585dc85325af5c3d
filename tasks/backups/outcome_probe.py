"""Looking at what a restore has made: the server, its rows, its indexes, what leads to it, and its backup."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from blocks.backup_records import BackupSet
from blocks.errors import SalvorError
from blocks.ledger import steps
from blocks.ledger.records import StepRecord
from blocks.service import Service
from tasks.backups import outside, serving
from tasks.backups.facts import count, databases
from tasks.backups.files import compare_files
from tasks.backups.looking import remember
from tasks.backups.reach import SCRATCH, SQL, Reach
from tasks.backups.state import Protected, Recovered, RestorePlan, TakePlan, View
from tasks.backups.taking import streaming
from tasks.effects import probe
from tasks.guard import current
from tasks.waiting import each

#: Complaints that are no damage: amcheck is not there, so nothing was compared.
NOT_THERE = ("skipping database", "not installed", "in database")


@probe
def observe_recovered(at: Reach, plan: RestorePlan) -> Recovered:
    """Look at the recovered server: who it is, its rows, its indexes, and what leads to it."""
    if current().dry_run:
        return Recovered(answers=False)
    try:
        row = at.ask(plan.node, SQL["recovered"])[0]
    except SalvorError as error:
        return Recovered(answers=False, problem=str(error))
    place = at.restoring(plan.node).look() if plan.way in {"restore", "dump"} else {}
    chain = tuple(place.get("chain", "").split())
    seen: dict[str, Any] = {
        "answers": True,
        "primary": not row["in_recovery"],
        "timeline": row["timeline"],
        "system_identifier": row["system_identifier"],
        "archiving": row["archiving"],
        "stopped": stopped(at, plan, int(row["timeline"])),
        "kept": _set(at, chain),
        "fallen_back": tuple(c[-1] for c in plan.chains[: plan.chains.index(chain)]) if chain in plan.chains else (),
        "writable_seconds": _since_start(("admit", "recover-copy")),
        "waited_seconds": current().waited_seconds,
    }
    seen |= _files(at, plan, chain) | {"mongo": _said("restore-files") if plan.mongo else ""}
    # Rows are counted while indexes are compared: a database with one large index would use one processor only.
    for found in each((_last_commit, _counted, _compared), lambda look: look(at, plan)).values():
        seen |= found
    if plan.node != SCRATCH:
        seen |= {"routes": _routes(at, plan)} | _served(at.block.services, "admit")
    elif plan.services:
        seen |= _served(at.services, "serve-copy")
    return Recovered(**seen, verified_seconds=_now())


@probe
def observe_protected(at: Reach, plan: RestorePlan) -> Protected:
    """Look whether the recovered database has a backup again, and what came of the procedures that were started."""
    if current().dry_run:
        return Protected()
    try:
        listing = at.repository.look()
        streams = not at.block.stream_wal or bool(streaming(at, plan.node))
        now = int(at.ask(plan.node, SQL["place"])[0]["timeline"])
    except SalvorError as error:
        return Protected(problem=str(error), brought=outside.brought(at, plan))
    own = [each for each in listing.sets if each.timeline == now and each.good]
    kept = own[-1] if own else None
    seconds = _since_start(("protect",))
    return Protected(kept=kept, streaming=streams, seconds=seconds, brought=outside.brought(at, plan))


@probe
def observe_kept(at: Reach, plan: TakePlan) -> tuple[View | None, bool, bool]:
    """Look at the repository once more: the set, its WAL, and whether page checksums protect what is copied."""
    if current().dry_run:
        return None, False, False
    listing = at.repository.look(facts_of=plan.set_id)
    view = View(resource=plan.resource, target=plan.target, at=datetime.now(UTC), places=(), listing=listing)
    remember(at, view, listing)
    checksums = bool(at.ask(plan.node, SQL["checksums"])[0]["present"])
    rows = streaming(at, plan.node)
    kept = next((each for each in listing.sets if each.id == plan.set_id), None)
    return view, bool(kept and any(row["flushed"] >= kept.end_lsn for row in rows)), checksums


def stopped(at: Reach, plan: RestorePlan, timeline: int) -> str:
    """Say where and why the recovery ended, as the server wrote it into the history of its new timeline."""
    if plan.way != "restore" or timeline <= 1:
        return ""
    try:
        lines = at.node(plan.node).read_file(f"pg_wal/{timeline:08X}.history").split("\n")
    except SalvorError:
        return ""
    last = next((line.split("\t") for line in reversed(lines) if line[:1].isdigit()), [])
    return f"it left timeline {last[0]} at {last[1]}, {last[2].strip()}" if len(last) > 2 else ""  # noqa: PLR2004


def observe_left(at: Reach) -> str:
    """Say what is left in the scratch folder; empty when nothing is."""
    seen = at.restoring(SCRATCH).look()
    return "" if seen.get("directory") == "missing" else f"{at.node(SCRATCH).data_directory} is still there"


def _set(at: Reach, chain: tuple[str, ...]) -> BackupSet | None:
    if not chain:
        return None
    try:
        return next((each for each in at.repository.look(facts_of=chain[-1]).sets if each.id == chain[-1]), None)
    except SalvorError:
        return None


def _last_commit(at: Reach, plan: RestorePlan) -> dict[str, Any]:
    query = at.cluster.activity_sql
    if not query:
        return {}
    try:
        question = SQL["newest"].replace("{activity_sql}", query)
        return {"last_commit": at.ask(plan.node, question, 60.0, at.cluster.activity_dbname)[0]["at"]}
    except SalvorError:
        return {}


def _counted(at: Reach, plan: RestorePlan) -> dict[str, Any]:
    try:
        return {"facts": tuple(sorted(count(at, plan.node).items()))}
    except SalvorError as error:
        return {"facts_problem": str(error)}


def _compared(at: Reach, plan: RestorePlan) -> dict[str, Any]:
    if not plan.deep:
        return {"check_problem": "it was not wanted (deep)"}
    login = (at.cluster.user, at.cluster.password.get_secret_value())
    try:
        names = databases(at, plan.node)
        said = at.restoring(plan.node).amcheck(login, names, plan.recover_seconds, install=plan.node == SCRATCH)
    except SalvorError as error:
        return {"check_problem": str(error)}
    lines = [line.removeprefix("pg_amcheck: ") for line in said.splitlines() if not line.startswith("NOTICE")]
    missing = [line for line in lines if any(each in line for each in NOT_THERE)]
    return {
        "damaged": tuple(line for line in lines if line not in missing),
        "check_problem": f"amcheck is not installed ({missing[0]})" if missing else "",
    }


def _files(at: Reach, plan: RestorePlan, chain: tuple[str, ...]) -> dict[str, Any]:
    if not plan.files_into:
        return {}
    try:
        said, wrong = compare_files(at, chain[-1] if chain else "", plan.files_into, plan.restore_seconds)
    except SalvorError as error:
        return {"files_wrong": (str(error),)}
    return {"files": said, "files_wrong": wrong}


def _served(services: list[Service], started_by: str) -> dict[str, Any]:
    return {"services": serving.ailing(services, _said(started_by)), "mute": serving.mute(services)}


def _routes(at: Reach, plan: RestorePlan) -> tuple[tuple[str, bool], ...]:
    node = at.node(plan.node)
    here = f"{node.host}:{node.port}"
    found = []
    for name, pooler in at.poolers.items():
        try:
            rows = [row for row in pooler.show_databases() if row.name in pooler.databases]
            leads = all(f"{r.host}:{r.port}" == here and not (r.paused or r.disabled) for r in rows) and bool(rows)
        except SalvorError:
            leads = False
        found.append((name, leads))
    for name, file in at.env_files.items():
        try:
            found.append((name, file.points_to().address == here))
        except SalvorError:
            found.append((name, False))
    return tuple(found)


def _steps(names: tuple[str, ...]) -> list[StepRecord]:
    return [step for step in steps.timeline(current().ledger, current().run.id) if step.name in names]


def _since_start(names: tuple[str, ...]) -> float | None:
    ends = [step.ended_at for step in _steps(names) if step.ended_at]
    return round((ends[-1] - current().run.started_at).total_seconds(), 3) if ends else None


def _said(name: str) -> str:
    return next((step.found for step in reversed(_steps((name,)))), "")


def _now() -> float:
    return round((datetime.now(UTC) - current().run.started_at).total_seconds(), 3)
