"""Keeping a set: the database's files, the numbers they are compared with later, and each node's configuration."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from contextvars import copy_context
from datetime import UTC, datetime

from blocks.backup_records import BackupSet, Fact, Taken
from blocks.errors import SalvorError, StandDown
from blocks.native_backup import SLOT
from blocks.postgres_host import ScriptFailed
from tasks.backups import dumping, files, offsite
from tasks.backups.facts import count
from tasks.backups.reach import SQL, Reach, quoted
from tasks.backups.state import TakePlan
from tasks.guard import current
from tasks.report import log
from tasks.waiting import until

CONFIGURATION = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")
#: Seconds that WAL is given to arrive in the repository.
ARRIVAL_SECONDS = 30.0
LOOK_SECONDS = 1.0


def stream(at: Reach, node: str, system_identifier: str, *, anew: bool) -> str:
    """See to it that WAL streams into the repository, and that no byte of it is skipped."""
    if not at.block.stream_wal:
        return "WAL is not streamed: only what the sets hold can be restored"
    keep_wal(at, node)
    said = at.repository.stream(at.sources(), system_identifier, anew=anew)
    if not until(lambda: bool(streaming(at, node)), ARRIVAL_SECONDS):
        raise StandDown(f"WAL does not stream into the repository ({said}): see receiver.log in its folder wal.")
    return said


def keep_wal(at: Reach, node: str) -> None:
    """Let NODE keep WAL until it is in the repository; a slot does not survive a restore or a promotion."""
    at.sql(node, *(SQL[name].replace("%(slot)s", quoted(SLOT)) for name in ("unlost", "slot")))


def streaming(at: Reach, node: str) -> list[dict[str, int]]:
    """Say how far WAL is written, and how far it is on disk in the repository; empty when nobody streams."""
    rows = at.ask(node, SQL["streaming"].replace("%(slot)s", quoted(SLOT)))
    return [{name: int(row[name]) for name in ("flushed", "written")} for row in rows]


def take(at: Reach, plan: TakePlan) -> str:
    """Copy the server and keep the copy as a set."""
    repository, began = at.repository, datetime.now(UTC)
    with suppress(SalvorError):  # it is said by `clear` itself, and the copy will fail if it matters
        if left := repository.clear():
            log(f"  {left}")
    with ThreadPoolExecutor(2) as pool:
        counted = pool.submit(copy_context().run, count, at, plan.node)
        copied = pool.submit(copy_context().run, _copy, at, plan)
        _watch(at, plan, copied)
        made, before = copied.result(), counted.result()
    logical = dumping.keep(at, plan)  # between the two counts, so that its rows can be compared as well
    point = f"salvor-{plan.set_id}" if at.block.stream_wal else ""
    if point:
        _mark(at, plan.node, point)
    after = count(at, plan.node)
    nodes = _keep_configuration(at, plan.set_id)
    apart = files.keep(at, plan)
    apart |= logical | {"missing": (*apart.get("missing", ()), *logical["missing"])}
    kept = BackupSet(
        id=plan.set_id,
        kind=plan.kind,
        parent=plan.parent,
        system_identifier=made.system_identifier,
        major=made.major,
        timeline=made.timeline,
        start_lsn=made.start_lsn,
        end_lsn=made.end_lsn,
        began_at=began,
        ended_at=datetime.now(UTC),
        bytes=made.bytes,
        restored_bytes=max(made.bytes, made.restored_bytes, plan.bytes),
        manifest_sha256=made.manifest_sha256,
        label=made.label,
        restore_point=point,
        facts=tuple(Fact(name=n, before=before[n], after=after[n]) for n in sorted(before) if n in after),
        nodes=nodes,
        app_version=repository.app_version(),
        **apart,
    )
    repository.commit(kept)
    wrong = repository.verify(kept)
    said = f"{kept.bytes / 2**20:.0f} MB kept as {kept.id}; " + (f"IT IS DAMAGED: {wrong}" if wrong else "verified")
    away = "" if wrong else offsite.copy_offsite(at, kept, plan.take_seconds)
    return "; ".join([said, *kept.missing, *filter(None, [away])])


def _copy(at: Reach, plan: TakePlan) -> Taken:
    try:
        return at.repository.take(
            plan.set_id, at.source(plan.node), plan.system_identifier, plan.take_seconds, parent=plan.parent
        )
    except ScriptFailed as error:
        raise StandDown(f"The backup failed, and nothing of it was kept: {error}") from error


def _watch(at: Reach, plan: TakePlan, copied: Future[Taken]) -> None:
    while not copied.done():
        with suppress(NotYet, SalvorError, StandDown):
            copied.exception(timeout=LOOK_SECONDS)
            return
        with suppress(SalvorError):
            for row in at.ask(plan.node, SQL["copied"]):
                if row["whole"]:
                    share = min(1.0, row["done"] / row["whole"])
                    current().progress.say(f"{row['done'] / 2**20:.0f} MB copied", 20 + 60 * share)


def _mark(at: Reach, node: str, point: str) -> None:
    lsn = int(at.sql(node, SQL["point"].replace("%(name)s", quoted(point)))[0]["lsn"])
    if not until(lambda: any(row["flushed"] >= lsn for row in streaming(at, node)), ARRIVAL_SECONDS):
        raise StandDown(f"The WAL of the backup did not arrive in the repository within {ARRIVAL_SECONDS:g} s.")


def _keep_configuration(at: Reach, name: str) -> tuple[str, ...]:
    kept = []
    for node in at.cluster.nodes:
        try:
            files = {file: node.read_file(file) for file in CONFIGURATION if not node.config_file}
            for file, text in files.items():
                at.repository.put(name, f"nodes/{node.name}/{file}", text)
        except SalvorError as error:
            log(f"  the configuration of {node.name} was not kept: {error}", warn=True)
        else:
            kept.append(node.name)
    return tuple(kept)
