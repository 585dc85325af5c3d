"""Which sets are expired. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from blocks.backup_records import BackupSet, Snapshot
from tasks.backups.choose import chain_of
from tasks.model import Frozen


class Retention(Frozen):
    """What goes, and why what is old stays."""

    expire: tuple[str, ...]  #: in the order in which they go: what builds on others first
    keep_from: int | None  #: WAL before this position goes too; None: all of it stays
    kept: tuple[tuple[str, str], ...]  #: old sets that stay, with the reason


def plan_retention(sets: tuple[BackupSet, ...], now: datetime, keep_days: float, keep_fulls: int) -> Retention:
    """Expire what is older than KEEP_DAYS and nobody needs any more.

    A set that one that stays is built on stays; so do the newest KEEP_FULLS good full sets, the newest good set of
    all, and the last set before the window, from which its oldest moment is restored.
    """
    horizon = now - timedelta(days=keep_days)
    by_id = {each.id: each for each in sets}
    good = [each for each in sets if _restorable(each, by_id)]
    if not good:  # nothing is proven: nothing goes
        return Retention(expire=(), keep_from=None, kept=())
    young = {each.id: "young enough" for each in sets if each.ended_at >= horizon}
    reasons = _reasons(sets, good, horizon, keep_fulls) | young
    _add_parents(reasons, by_id)
    staying = [each for each in sets if each.id in reasons]
    return Retention(
        expire=tuple(sorted((each.id for each in sets if each.id not in reasons), reverse=True)),
        keep_from=min(each.start_lsn for each in staying),
        kept=tuple((each.id, reasons[each.id]) for each in staying if each.ended_at < horizon),
    )


def _restorable(made: BackupSet, by_id: dict[str, BackupSet]) -> bool:
    """Whether it is proven, and all that it is built from: a good set on top of a damaged one is no way back."""
    chain = chain_of(made, by_id)
    return chain is not None and all(by_id[name].good for name in chain)


def outlived(snapshots: tuple[Snapshot, ...], sets: tuple[BackupSet, ...], before: datetime) -> tuple[str, ...]:
    """Give the snapshots of restic that go: those older than BEFORE whose set is gone.

    The newest of each kind stays whatever happens, and all of them where there is no set: then it is the repository
    that was lost, and they are what is left.
    """
    if not sets:
        return ()
    kept = {each.id for each in sets}
    newest = {each.what: each.id for each in sorted(snapshots, key=lambda each: each.at)}
    old = (each for each in snapshots if each.at < before and each.set_id not in kept)
    return tuple(each.id for each in old if each.id not in newest.values())


def _reasons(sets: tuple[BackupSet, ...], good: list[BackupSet], horizon: datetime, keep_fulls: int) -> dict[str, str]:
    reasons = {each.id: "a run restores from it" for each in sets if each.in_use}
    if before := [each for each in good if each.ended_at < horizon]:
        reasons[before[-1].id] = "the oldest moment that is kept is restored from it"
    reasons[good[-1].id] = "the newest good set"
    fulls = [each for each in good if each.kind == "full"]
    return reasons | {each.id: f"one of the last {keep_fulls} good full sets" for each in fulls[-keep_fulls:]}


def _add_parents(reasons: dict[str, str], by_id: dict[str, BackupSet]) -> None:
    for name in list(reasons):
        parent = by_id[name].parent
        while parent in by_id and parent not in reasons:
            reasons[parent] = f"{name} is built on it"
            parent = by_id[parent].parent
