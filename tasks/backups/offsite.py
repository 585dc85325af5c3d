"""A copy of the repository at another place: made with each set, brought back when the repository is lost, let go."""

from __future__ import annotations

from blocks.backup_records import BackupSet, Snapshot
from blocks.errors import Misconfigured, SalvorError, StandDown
from blocks.postgres_host import ScriptFailed
from blocks.restic import Restic
from tasks.backups.files import share
from tasks.backups.reach import Reach
from tasks.backups.retention import outlived
from tasks.backups.state import TakePlan
from tasks.report import log

FAILED = "failed"  #: how the mark of a set begins that has no copy
#: Of a repository, what is of no use elsewhere.
LEFT_OUT = ("sets/.*", "sets/*/in-use", "wal/receiver*", "frozen", "salvor-redis", ".salvor-*")


def copy_offsite(at: Reach, made: BackupSet, seconds: float) -> str:
    """Copy the repository as it is now, and write down with the set where its copy is, or why there is none."""
    restic = at.restic
    if restic is None or not at.block.restic.offsite:
        return ""
    try:
        where = restic.keep(["."], made.id, "offsite", seconds, inside=at.block.directory, exclude=LEFT_OUT)
        if wrong := restic.verify(seconds, share(at)):
            where = f"{FAILED}: restic's place is damaged: {wrong}"
    except SalvorError as error:
        where = f"{FAILED}: {error}"
    at.repository.mark_offsite(made.id, where)
    return where if where.startswith(FAILED) else "a copy is offsite"


def bring_back(at: Reach, seconds: float = 3600.0) -> str:
    """Bring the newest set that is whole offsite, what it builds on and the WAL into an empty repository."""
    restic = at.restic
    if restic is None:
        raise Misconfigured("There is no copy offsite: restic of the repository's block names no place.")
    copies = [each for each in restic.snapshots() if each.what == "offsite"]
    said = []
    for copy in reversed(copies):
        try:
            chain = _chain(restic, copy)
            include = ("/system", "/wal", *(f"/sets/{each.id}" for each in chain))
            restic.restore(copy.id, at.block.directory, seconds, include)
        except ScriptFailed as error:
            said.append(f"fell back: the copy of {copy.set_id} is damaged ({error})")
            log(f"  {said[-1]}", warn=True)
            continue
        wrong = [f"{each.id} IS DAMAGED: {why}" for each in chain if (why := at.repository.verify(each))]
        return "; ".join([*said, f"{copy.set_id} is back in {at.block.directory}", *(wrong or ["verified"])])
    raise StandDown("; ".join(said) or f"Nothing of {at.target} is offsite, at {at.block.restic.repository}.")


def _chain(restic: Restic, copy: Snapshot) -> list[BackupSet]:
    chain, name = [], copy.set_id
    while name:
        chain.append(BackupSet.model_validate_json(restic.read(copy.id, f"/sets/{name}/set.json")))
        name = chain[-1].parent
    return chain


def forget(at: Reach, plan: TakePlan) -> str:
    """Forget the files and copies of sets that are gone, and older than sets are kept."""
    restic = at.restic
    if restic is None or plan.forget_before is None:
        return ""
    try:
        old = outlived(restic.snapshots(), at.repository.look().sets, plan.forget_before)
        if old:
            restic.forget(old, plan.take_seconds)
    except SalvorError as error:  # the next run does it: what goes is found anew each time
        log(f"  restic could not let old files go: {error}", warn=True)
        return f"old files were not let go: {error}"
    return f"{len(old)} snapshots of restic let go"
