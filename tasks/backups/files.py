"""What of an application is no database: its files and its Redis, kept with a set by restic, and brought back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from blocks.backup_records import BackupSet, KeptFile
from blocks.errors import Misconfigured, SalvorError
from blocks.kept_files import REDIS_DUMP, Marks
from blocks.restic import NoPlace, Restic
from tasks.backups.reach import Reach
from tasks.backups.state import TakePlan
from tasks.report import log

#: So many fingerprints are kept with a set; restic proves the rest by itself.
MOST = 2000
LARGE = 2**25  #: bytes of JSON that are not parsed any more; its fingerprint is compared all the same
DAYS = 30  #: in which every byte of a place that holds whole sets is read once
NO_RESTIC = "files and Redis are kept by restic: fill in restic of the repository's block"

NEW_PLACE = "If it is a new place, run `restic init` there once."


def keep(at: Reach, plan: TakePlan) -> dict[str, Any]:
    """Keep files and Redis with the set that grows, and give what the set says of them.

    What fails is said, and the set is kept without it: rows that are safe are better than none.
    """
    redis = at.block.redis_url.get_secret_value()
    if not (at.block.files or redis or at.block.restic.offsite):
        return {}
    restic = at.restic
    if restic is None:
        return {"missing": (NO_RESTIC,)}
    try:
        restic.open(make=not any(each.apart for each in at.repository.look().sets))
    except NoPlace as error:
        return {"missing": (f"{error} Sets before this one were kept in one: is its disk mounted? {NEW_PLACE}",)}
    except SalvorError as error:
        return {"missing": (str(error),)}
    said: dict[str, Any] = {"apart": True, "missing": ()}
    try:
        dump = [REDIS_DUMP] if redis and _dumped(at, redis, plan, said) else []
        _keep_files(at, restic, plan, dump, said)
    finally:
        if redis:
            at.host_files.drop_dump(f"{at.block.directory}/{REDIS_DUMP}")
    return said


def _dumped(at: Reach, url: str, plan: TakePlan, said: dict[str, Any]) -> bool:
    began = datetime.now(UTC)
    try:
        keys = at.host_files.dump_redis(url, f"{at.block.directory}/{REDIS_DUMP}", plan.take_seconds)
    except SalvorError as error:
        said["missing"] += (f"Redis: {error}",)
        return False
    said |= {"redis_keys": keys, "redis_at": began}
    return True


def _keep_files(at: Reach, restic: Restic, plan: TakePlan, dump: list[str], said: dict[str, Any]) -> None:
    paths, seconds = list(at.block.files), plan.take_seconds
    try:
        before = at.host_files.marks(paths, seconds) if paths else Marks()
        said["missing"] += tuple(f"there is no {path}" for path in before.absent)
        if not (before.paths or dump):
            return
        restic.keep([*before.paths, *dump], plan.set_id, "files", seconds, inside=at.block.directory)
        after = at.host_files.marks(list(before.paths), seconds) if before.paths else Marks()
        found = before.settled(after)
        said["files"] = found[:MOST]
        if len(found) > MOST:
            log(f"  {len(found)} files are kept, and fingerprints of the first {MOST}")
        if wrong := restic.verify(seconds, share(at)):
            said["missing"] += (f"restic's place is damaged: {wrong}",)
    except SalvorError as error:
        said["missing"] += (f"files: {error}",)
        for name in ("redis_keys", "redis_at", "files"):
            said.pop(name, None)


def share(at: Reach) -> str:
    """Say how much of restic's place is read today: all of it, or where whole sets are there each byte once a month."""
    days = datetime.now(UTC).toordinal()
    return f"{days % DAYS + 1}/{DAYS}" if at.block.restic.offsite else ""


def restore_files(at: Reach, set_id: str, into: str, seconds: float = 3600.0) -> str:
    """Restore the files and the Redis of a set into an empty folder of the repository's host; say what came back."""
    made, restic = _made(at, set_id), at.restic
    if restic is None:
        raise Misconfigured(f"Files cannot be restored: {NO_RESTIC}.")
    found = [each for each in restic.snapshots() if each.set_id == set_id and each.what == "files"]
    if not found:
        raise Misconfigured(f"No files and no Redis were kept with the set {set_id}.")
    restic.restore(found[-1].id, into, seconds)
    if made.redis_keys is not None:
        at.host_files.lay_redis(f"{into}/{REDIS_DUMP}".rpartition("/")[0])
    back = at.host_files.marks([into], seconds, below=into).files
    modes = {f"{into}{e.path}": e.mode for e in made.files if e.path in back and back[e.path].mode != e.mode}
    at.host_files.set_modes(modes)
    said, wrong = compare_files(at, set_id, into, seconds)
    return f"{said} in {into}" + (f"; WRONG: {'; '.join(wrong)}" if wrong else "")


def compare_files(at: Reach, set_id: str, into: str, seconds: float = 3600.0) -> tuple[str, tuple[str, ...]]:
    """Say what of a set is in the folder INTO, and what of it is missing, broken or other than it was kept."""
    made = _made(at, set_id)
    back = at.host_files.marks([into], seconds, below=into).files
    wrong = [said for each in made.files if (said := _differs(each, back.get(each.path)))]
    texts = [each.path for each in made.files if each.path.endswith(".json") and each.path in back]
    texts = [path for path in texts if back[path].bytes < LARGE]
    broken = at.host_files.broken_json([f"{into}{path}" for path in texts], seconds)
    wrong += [f"{path.removeprefix(into)} is no JSON ({why})" for path, why in broken.items()]
    said = f"{len(made.files)} files"
    if made.redis_keys is None:
        return said, tuple(wrong)
    try:
        keys = at.host_files.count_redis(f"{into}/{REDIS_DUMP}", seconds)
    except SalvorError as error:
        return said, (*wrong, str(error))
    if keys != made.redis_keys:
        wrong.append(f"{keys} keys of Redis instead of {made.redis_keys}")
    return f"{said} and {keys} keys of Redis", tuple(wrong)


def _differs(kept: KeptFile, back: KeptFile | None) -> str:
    if not kept.sha256:
        return ""  # it changed while it was kept: nobody knows how it should be
    if back is None:
        return f"{kept.path} is missing"
    if back.sha256 != kept.sha256:
        return f"{kept.path} is not what was kept"
    return f"{kept.path} has the mode {back.mode} instead of {kept.mode}" if back.mode != kept.mode else ""


def _made(at: Reach, set_id: str) -> BackupSet:
    for each in at.repository.look().sets:
        if each.id == set_id:
            return each
    raise Misconfigured(f"The repository holds no set {set_id}.")
