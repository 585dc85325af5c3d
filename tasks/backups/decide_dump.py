"""From which logical copy a server is made in the scratch folder. Pure."""

from __future__ import annotations

from typing import Any

from blocks.backup_records import BackupSet
from tasks.backups.decide_restore import MEGABYTE, SPARE
from tasks.backups.policies import TargetPolicy
from tasks.backups.state import Aim, Place, View


def dumped(view: View, policy: TargetPolicy) -> BackupSet | str:
    """Find the newest set that has a logical copy, or the one that is named; its files need not be good."""
    if view.listing is None:
        return f"The repository could not be read: {view.problem}"
    held = [each for each in view.listing.sets if each.dumps]
    if policy.target == "set":
        held = [each for each in held if each.id == policy.to]
    elif policy.target != "latest":
        return "A logical copy is of the moment at which its set was taken: `target` is latest, or set with its name."
    if not held:
        which = f"The set {policy.to} has no" if policy.target == "set" else "No set has a"
        return f"{which} logical copy: turn on `dumps` in the repository's block, and run backup-take."
    return held[-1]


def from_dump(view: View, policy: TargetPolicy, place: Place, made: BackupSet) -> dict[str, Any] | str:
    """Give what every plan of a logical copy has in common; or say why PLACE cannot take it."""
    if wrong := _unfit(place, made):
        return wrong
    said = f"the logical copy of {made.id}, of {made.ended_at:%Y-%m-%d %H:%M:%S} UTC"
    return {
        "resource": f"recovery.drill.{view.target}",
        "key": f"dump-{made.id}",
        "once": False,
        "why": f"Practise in the scratch folder the way back from {said}.",
        "loss": "Nothing: production is not touched, and the repository is only read.",
        "way": "dump",
        "target": view.target,
        "node": place.name,
        "chains": ((made.id,),),
        "aim": Aim(kind="name", value=made.restore_point, timeline=made.timeline, said=said),
        "system_identifier": made.system_identifier,
        "stamp": f"{view.at:%Y%m%dT%H%M%SZ}",
        "in_place": False,
        "restore_seconds": policy.restore_seconds,
        "recover_seconds": policy.recover_seconds,
        "protect": False,
    }


def _unfit(place: Place, made: BackupSet) -> str:
    if not place.reachable:
        return f"The host of {place.name} cannot be reached: {place.problem or 'no answer'}"
    if not place.sees_repository:
        return f"The host of {place.name} does not see the repository: mount it there under the same path."
    if place.major and place.major < made.major:
        return f"{made.id} is of PostgreSQL {made.major}, and {place.name} has {place.major}: it is too old."
    need = int(made.restored_bytes * SPARE)
    if place.free_bytes < need:
        free = place.free_bytes // MEGABYTE
        return f"{made.id} may need {need // MEGABYTE} MB, and {free} MB are free in the scratch folder: make room."
    return ""
