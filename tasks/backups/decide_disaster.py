"""What is dead, and by which way the service comes back soonest with the least loss. Pure."""

from __future__ import annotations

from blocks.backup_records import shown
from tasks.backups.aims import aimed
from tasks.backups.decide_restore import place_of, planned, resumed, surveyed, unfit
from tasks.backups.policies import DisasterPolicy
from tasks.backups.state import Aim, DisasterPlan, Place, View
from tasks.model import Decision


def decide_disaster(view: View, policy: DisasterPolicy) -> Decision[DisasterPlan]:
    """Choose the cheapest way that brings the service back."""
    if cut_off := resumed(view, view.unfinished_disaster):
        return Decision.go(cut_off)
    if view.primaries and policy.way != "restore":
        names = ", ".join(place.name for place in view.primaries)
        return Decision.nothing(
            f"{names} takes writes: the database is not lost. To go back to an earlier moment run backup-restore."
        )
    if view.primaries:
        return Decision.refuse(
            f"{view.primaries[0].name} takes writes: the database is not lost. To replace it run backup-restore."
        )
    ways = {"start": _start, "failover": _failover, "restore": _restore, "offsite": _offsite}
    tried = list(ways) if policy.way == "auto" else ["restore", "offsite"] if policy.way == "restore" else [policy.way]
    reasons = []
    for way in tried:
        found = ways[way](view, policy)
        if isinstance(found, DisasterPlan):
            return Decision.go(found)
        reasons.append(f"{way}: {found}")
    return Decision.refuse(f"{' '.join(assess(view))} No way back was found. {' '.join(reasons)}")


def assess(view: View) -> tuple[str, ...]:
    """Say what is dead and what is left, one sentence each."""
    said = [_assessed(place) for place in view.places]
    if view.listing is None:
        said.append(f"The repository cannot be read: {view.problem}")
    else:
        good = sum(each.good for each in view.listing.sets)
        damaged = (
            f" The records of {', '.join(view.listing.unreadable)} are damaged." if view.listing.unreadable else ""
        )
        said.append(f"The repository holds {len(view.listing.sets)} sets, {good} of them proven.{damaged}")
    return tuple(said)


def _assessed(place: Place) -> str:
    if place.answers:
        return f"{place.name} answers as a {'primary' if place.primary else 'standby'}, at {shown(place.lsn)}."
    if not place.reachable:
        return f"{place.name}: its host cannot be reached."
    if place.directory == "missing":
        return f"{place.name}: its data directory is gone."
    if place.directory == "unknown":
        return f"{place.name}: its directory holds no database."
    if place.processes:
        return f"{place.name}: {place.processes} processes are there, but it does not answer."
    return f"{place.name} is down; its data directory is there."


def _start(view: View, policy: DisasterPolicy) -> DisasterPlan | str:
    last, newest = view.recorded, _newest(view)
    fit = [place for place in view.places if _can_start(place)]
    if fit and not [place for place in fit if place.timeline == newest]:
        return f"somebody was promoted after {fit[0].name} was the primary."
    fit = [place for place in fit if place.timeline == newest]
    meant = [place for place in fit if last is None or place.name == last.node or place.timeline > last.timeline]
    if len(meant) != 1:
        return "no node that was the primary is merely down."
    (place,) = meant
    aim = Aim(kind="lsn", value="", timeline=place.timeline, latest=True, said="the end of its own WAL")
    more = {
        "key": f"start-{place.name}-{place.timeline}",
        "why": f"Start {place.name}, which is only down: it recovers from its own files, and loses nothing.",
        "loss": "Nothing: whatever was acknowledged is in its directory.",
    }
    return DisasterPlan(**_common(view, policy, place, aim) | more, way="start", assessed=assess(view))


def _can_start(place: Place) -> bool:
    still = place.reachable and not place.answers and place.directory == "present" and not place.processes
    return still and not place.standby_signal


def _newest(view: View) -> int:
    return max((place.timeline for place in view.places), default=0)


def _failover(view: View, policy: DisasterPolicy) -> DisasterPlan | str:
    standbys = [place for place in view.places if place.answers and not place.nofailover]
    if not standbys:
        return "no standby answers that may be promoted."
    best = max(standbys, key=lambda each: (each.timeline, each.lsn))
    aim = Aim(kind="lsn", value="", timeline=best.timeline, latest=True, said="what the standbys hold")
    more = {
        "resource": f"recovery.disaster.{view.target}",
        "key": f"failover-{best.timeline}",
        "why": f"Let postgres-failover promote a standby: {', '.join(each.name for each in standbys)} can be.",
        "loss": "What postgres-failover says before it promotes.",
    }
    return DisasterPlan(**_common(view, policy, best, aim) | more, way="failover", assessed=assess(view))


def _common(view: View, policy: DisasterPolicy, place: Place, aim: Aim) -> dict[str, object]:
    return {
        "resource": view.resource,
        "once": False,
        "target": view.target,
        "node": place.name,
        "chains": (),
        "aim": aim,
        "system_identifier": view.system_identifier,
        "stamp": f"{view.at:%Y%m%dT%H%M%SZ}",
        "restore_seconds": policy.restore_seconds,
        "recover_seconds": policy.recover_seconds,
        "deep": policy.deep,
        "protect": policy.protect,
        "reconcile": policy.reconcile,
    }


def _restore(view: View, policy: DisasterPolicy) -> DisasterPlan | str:
    made = surveyed(view, policy)
    if isinstance(made, str):
        return made
    place = view.place(policy.node) if policy.node else place_of(view)
    if place is None:
        return f"this cluster has no node `{policy.node}`."
    if wrong := unfit(place, made):
        return wrong
    aim, ask = aimed(view, policy, made, accept_hole=policy.accept_hole), ""
    if isinstance(aim, str) and policy.target == "latest":
        ask = aim
        aim = aimed(view, policy, made, accept_hole=True)
    if isinstance(aim, str):
        return aim
    unreached = [each.name for each in view.places if not each.reachable]
    if unreached:
        ask += (
            f"{' ' * bool(ask)}The host of {' and '.join(unreached)} cannot be reached, so it is not proven that no "
            "database runs there: see to it that clients cannot reach it."
        )
    more = {"ask": ask, "deep": policy.deep, "protect": policy.protect, "reconcile": policy.reconcile}
    return DisasterPlan(**planned(view, policy, made, place, aim) | more, way="restore", assessed=assess(view))


def _offsite(view: View, policy: DisasterPolicy) -> DisasterPlan | str:
    """Bring the repository back from its copy; which set and how far is seen then."""
    if view.listing and view.listing.sets:
        return "the repository itself is there."
    if not view.copy_offsite:
        return "no copy of the repository is offsite."
    place = view.place(policy.node) if policy.node else place_of(view)
    if place is None or not place.reachable:
        return "no host can be reached that could be restored."
    aim = Aim(kind="lsn", value="", timeline=0, latest=True, said="the last record of the copy offsite")
    lost = f"Everything that is newer than the copy that was made with {view.copy_offsite}."
    more = {
        "key": f"offsite-{view.copy_offsite}",
        "why": f"Bring the repository back from its copy of {view.copy_offsite}, and restore {place.name} from it.",
        "loss": lost,
        "ask": "" if policy.accept_hole else f"The repository is lost. {lost}",
        "recorded": view.recorded,
        "others": tuple(each.name for each in view.places if each.reachable),
        "dead": tuple(each.name for each in view.places if not each.reachable),
    }
    return DisasterPlan(**_common(view, policy, place, aim) | more, way="restore", offsite=True, assessed=assess(view))
