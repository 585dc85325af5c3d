"""Which kind of set is taken, from whom, and what is expired afterwards. Pure."""

from __future__ import annotations

from datetime import timedelta
from math import ceil

from blocks.backup_records import BackupSet, Kind, Listing, set_name
from tasks.backups.choose import chain_of
from tasks.backups.policies import BackupPolicy
from tasks.backups.retention import plan_retention
from tasks.backups.state import Place, TakePlan, View
from tasks.model import Decision

SPARE = 1.1  #: what is copied may grow while it is copied
MEGABYTE = 2**20
LOOK_BACK = 10  #: so many incremental sets say how large the next one is
WAL_BYTES = 64 * MEGABYTE  #: that come with a set of nothing


def decide_take(view: View, policy: BackupPolicy) -> Decision[TakePlan]:
    """Decide what to keep now; the reasons not to are sentences."""
    if view.listing is None:
        return Decision.refuse(f"The repository could not be read: {view.problem}")
    if len(view.primaries) != 1:
        found = ", ".join(place.name for place in view.primaries)
        said = f"more than one node takes writes ({found})" if found else _nobody(view)
        return Decision.refuse(f"There is no single primary to take a backup of: {said}.")
    (primary,) = view.primaries
    if wrong := _unfit(view, view.listing, primary):
        return Decision.refuse(wrong)
    parent = _parent(view, view.listing, primary, policy)
    if policy.kind == "incremental" and isinstance(parent, str):
        return Decision.refuse(f"An incremental set cannot be taken: {parent}.")
    plan = _plan(view, view.listing, primary, parent, policy)
    need = WAL_BYTES if view.engine == "pgbackrest" else _need(view.listing, primary, parent)
    freed = _freed(view.listing, plan)
    if view.listing.free_bytes >= need:
        return Decision.go(plan)
    if view.listing.free_bytes + freed >= need:
        return Decision.go(plan.model_copy(update={"room_first": True, "loss": _first(plan)}))
    return Decision.refuse(
        f"A backup needs about {need // MEGABYTE} MB and {view.listing.free_bytes // MEGABYTE} MB are free in the "
        f"repository; {_too_little(view.listing, plan, freed)}: make room, or lower keep_days."
    )


def _freed(listing: Listing, plan: TakePlan) -> int:
    """Say how many bytes the sets hold here that are too old."""
    return sum(each.bytes for each in listing.sets if each.id in plan.expire and not each.label)


def _first(plan: TakePlan) -> str:
    return plan.loss.replace("are expired afterwards", "are expired first, to make room for this one")


def _too_little(listing: Listing, plan: TakePlan, freed: int) -> str:
    if listing.frozen:
        return f"nothing may be expired now ({listing.frozen})"
    if not plan.expire:
        return "no set in it may be expired"
    return f"the sets that are too old ({', '.join(plan.expire)}) hold {freed // MEGABYTE} MB, which is too little"


def _nobody(view: View) -> str:
    return "no node takes writes" + "".join(f"; {p.name}: {p.problem}" for p in view.places if p.problem)


def _unfit(view: View, listing: Listing, primary: Place) -> str:
    if listing.system_identifier not in {"", primary.system_identifier}:
        return (
            f"The repository holds the backups of another cluster ({listing.system_identifier}, this is "
            f"{primary.system_identifier}): give this one a directory of its own."
        )
    if view.last_seen and not listing.sets:
        return (
            f"The repository is empty, and held {len(view.last_seen)} sets when it was last seen: is its disk mounted?"
            " If it was emptied on purpose, give the block another directory."
        )
    if not listing.writable:
        return "The repository cannot be written: mount it, or give it to the user of its control."
    return ""


def _need(listing: Listing, primary: Place, parent: BackupSet | str) -> int:
    """Say how many bytes the set takes, about: what changed since the last one is as much as it was before."""
    if isinstance(parent, str):
        return ceil(primary.bytes * SPARE)
    earlier = [each.bytes for each in listing.sets if each.kind == "incremental"][-LOOK_BACK:]
    return ceil(max(earlier, default=0) * SPARE) + WAL_BYTES


def _parent(view: View, listing: Listing, primary: Place, policy: BackupPolicy) -> BackupSet | str:
    """Give the set to build on, or why there is none."""
    if policy.kind == "full":
        return "a full one was asked for"
    apart = view.engine == "pgbackrest"  # its sets build on none of pg_basebackup's, and those on none of its
    if not apart and not primary.summaries:
        return f"{primary.name} keeps no WAL summaries (set summarize_wal = on, from PostgreSQL 17)"
    sets = {each.id: each for each in listing.sets}
    fit = [
        each
        for each in listing.sets
        if bool(each.label) == apart
        and each.good
        and each.timeline == primary.timeline
        and each.major == primary.major
        and chain_of(each, sets)
    ]
    if not fit:
        return f"there is no good set of timeline {primary.timeline} to build on"
    if apart and fit[-1].id != (newest := [each.id for each in listing.sets if each.label][-1]):
        return f"pgBackRest builds on its newest set only, and {newest} is not good"
    full = sets[(chain_of(fit[-1], sets) or (fit[-1].id,))[0]]
    if policy.kind == "auto" and view.at - full.ended_at > timedelta(days=policy.full_every_days):
        return f"the newest full set is older than {policy.full_every_days:g} days"
    return fit[-1]


def _plan(view: View, listing: Listing, primary: Place, parent: BackupSet | str, policy: BackupPolicy) -> TakePlan:
    base = parent.id if isinstance(parent, BackupSet) else ""
    kind: Kind = "incremental" if base else "full"
    name = set_name(kind, view.at)
    retention = plan_retention(listing.sets, view.at, policy.keep_days, policy.keep_fulls)
    expire = retention.expire if policy.expire and not listing.frozen else ()
    because = f"on top of {base}" if base else f"because {parent}"
    newest = listing.sets[-1].timeline if listing.sets else primary.timeline
    return TakePlan(
        resource=f"recovery.backup.{view.target}",
        key="take",
        once=False,
        why=f"Keep the {kind} set {name} of {primary.name}, {because}.",
        loss=_expired(expire, listing.frozen, retention.kept),
        target=view.target,
        node=primary.name,
        set_id=name,
        kind=kind,
        parent=base,
        system_identifier=primary.system_identifier,
        timeline=primary.timeline,
        bytes=primary.bytes,
        expire=expire,
        keep_from=retention.keep_from if policy.expire and not listing.frozen else None,
        forget_before=view.at - timedelta(days=policy.keep_days) if policy.expire and not listing.frozen else None,
        stream=view.streams,
        anew=newest != primary.timeline,
        take_seconds=policy.timeout_seconds,
    )


def _expired(expire: tuple[str, ...], frozen: str, kept: tuple[tuple[str, str], ...]) -> str:
    if frozen:
        return f"Nothing is expired, because that is frozen: {frozen}"
    stay = "".join(f"; {name} stays: {why}" for name, why in kept[:3])
    return f"{len(expire)} old sets are expired afterwards{': ' if expire else ''}{', '.join(expire[:5])}{stay}."
