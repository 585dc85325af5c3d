"""Whether a backup is one. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from blocks.backup_records import BackupSet, shown
from tasks.backups.choose import along, path_to
from tasks.backups.state import TakePlan, View
from tasks.model import Evidence


def judge_take(plan: TakePlan, after: View | None, arrived: bool) -> tuple[Evidence, ...]:
    """Judge a set that was taken; AFTER is None in a dry run."""
    if after is None or after.listing is None:
        return ()
    listing = after.listing
    kept = next((each for each in listing.sets if each.id == plan.set_id), None)
    whole = "every file is as its manifest says" if kept and kept.good else (kept.bad if kept else "it is not there")
    facts = len(kept.facts) if kept else 0
    found = [
        Evidence(claim=f"{plan.set_id} is whole.", seen=whole, holds=bool(kept and kept.good)),
        Evidence(claim="A restore can be compared with it.", seen=f"{facts} numbers are kept with it", holds=facts > 0),
    ]
    if kept and plan.stream:
        wal = along(listing.archive, path_to(listing.archive, kept.timeline))
        hole = wal.next_hole(kept.start_lsn // listing.archive.segment_bytes)
        said = f"whole from {shown(kept.start_lsn)} on" if not hole else f"{hole[1] - hole[0] - 1} files are missing"
        claim = "Its WAL is in the repository without a hole, and goes on."
        found.append(Evidence(claim=claim, seen=said if arrived else "it does not stream", holds=arrived and not hole))
    if kept:
        found += _apart(kept)
    left = [name for name in plan.expire if any(each.id == name and not each.in_use for each in listing.sets)]
    said = f"still there: {', '.join(left)}" if left else f"{len(plan.expire)} sets were to go"
    return (*found, Evidence(claim="What is too old is gone.", seen=said, holds=not left))


def _apart(kept: BackupSet) -> Iterator[Evidence]:
    """Judge what was kept beside the database."""
    if kept.missing or kept.files or kept.dumps or kept.mongo or kept.redis_keys is not None:
        redis = f", {kept.redis_keys} keys of Redis" if kept.redis_keys is not None else ""
        copies = f", logical copies of {len(kept.dumps)} databases" if kept.dumps else ""
        copies += f", {kept.mongo.documents} documents of MongoDB" if kept.mongo else ""
        seen = "; ".join(kept.missing) or f"{len(kept.files)} files{redis}{copies}"
        yield Evidence(claim="What belongs to it was kept with it.", seen=seen, holds=not kept.missing)
    if kept.offsite:
        good = not kept.offsite.startswith("failed")
        seen = f"restic has it as {kept.offsite[:8]}" if good else kept.offsite
        yield Evidence(claim="A copy of it is offsite.", seen=seen, holds=good)


def unlooked_take(plan: TakePlan, after: View | None, *, checksums: bool) -> tuple[str, ...]:
    """Say what a backup does not prove."""
    if after is None:
        return ()
    said = ["That it can be restored: only backup-drill proves that."]
    if after.listing and after.listing.unreadable:
        said.append(f"{', '.join(after.listing.unreadable)}: the record is damaged, so the set is of no use.")
    if not checksums:
        said.append("Pages that the disk has changed: the cluster has no data checksums (pg_checksums --enable).")
    if not plan.stream:
        said.append("WAL is not streamed: what is written after the set is in no backup.")
    if after.listing and any(each.offsite for each in after.listing.sets if each.id == plan.set_id):
        said.append("The copy offsite as a whole: a thirtieth of restic's place is read each day.")
    return tuple(said)
