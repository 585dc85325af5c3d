"""The history of drills and recoveries, and what the repository holds, as tables in the UI."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from blocks.backup_records import BackupSet
from blocks.errors import SalvorError
from blocks.ledger import backups
from blocks.ledger.backups import Practised
from tasks.backups.outcome_probe import observe_left
from tasks.backups.policies import DrillPolicy
from tasks.backups.reach import Reach
from tasks.backups.state import Protected, Recovered, RestorePlan, View
from tasks.effects import probe
from tasks.guard import current
from tasks.model import Evidence
from tasks.report import artifact_key, log, publish_table

ROWS = 30


@probe
def tell_sets(view: View) -> None:
    """Show what the repository holds, the newest first."""
    if view.listing is None:
        return
    rows = [_set_row(each) for each in reversed(view.listing.sets[-ROWS:])]
    publish_table(artifact_key("backups", view.target, "sets"), rows, f"{len(view.listing.sets)} sets are kept")


def _set_row(each: BackupSet) -> dict[str, str]:
    proven = f"proven {each.verified_at:%d %b %H:%M}" if each.verified_at else "not proven"
    return {
        "taken (UTC)": f"{each.ended_at:%Y-%m-%d %H:%M:%S}",
        "set": each.id,
        "state": f"BAD: {each.bad}" if each.bad else proven,
        "size": f"{each.bytes / 2**20:.0f} MB",
        "builds on": each.parent or "-",
        "app": each.app_version or "-",
    }


@probe
def tell_recovery(
    at: Reach,
    plan: RestorePlan,
    after: Recovered,
    evidence: tuple[Evidence, ...],
    kept: Protected | None = None,
) -> tuple[Practised, ...]:
    """Enter how this recovery went, show the history as a table, and give it, the newest first."""
    if current().dry_run:
        return ()
    book, run = current().ledger, current().run
    failed = [each.claim for each in evidence if not each.holds]
    waited = [f"it waited {after.waited_seconds:.0f} s for an approval"] if after.waited_seconds else []
    result = Practised(
        run_id=run.id,
        target=at.target,
        kind=plan.what or run.procedure,
        at=run.started_at,
        set_id=after.kept.id if after.kept else "",
        recovered_to=plan.aim.said,
        passed=bool(evidence) and not failed,
        writable_seconds=after.writable_seconds,
        verified_seconds=after.verified_seconds,
        protected_seconds=kept.seconds if kept else None,
        said="; ".join([*failed, *waited])[:2000],
    )
    try:
        backups.practised(book, result)
        found = backups.history(book, at.target, ROWS)
    except SalvorError as error:  # the report has it too
        log(f"The history could not be kept: {error}", warn=True)
        return (result,)
    budget = at.block.rto_seconds
    said = f"{sum(each.passed for each in found)} of the last {len(found)} recoveries passed; budget {budget:g} s"
    publish_table(artifact_key("recoveries", at.target), [_row(each, budget) for each in found], said)
    return tuple(found)


def _row(each: Practised, budget: float) -> dict[str, str]:
    slow = each.writable_seconds is not None and each.writable_seconds > budget / 2
    return {
        "when (UTC)": f"{each.at.astimezone(UTC):%Y-%m-%d %H:%M}",
        "what": each.kind,
        "result": "passed" if each.passed else "FAILED",
        "writable": _seconds(each.writable_seconds) + (" (over half the budget)" if slow else ""),
        "verified": _seconds(each.verified_seconds),
        "protected": _seconds(each.protected_seconds),
        "to": each.recovered_to,
        "from": each.set_id or "-",
        "note": each.said or "-",
    }


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


@probe
def observe_clean(at: Reach) -> str:
    """Say what is left of a drill; empty when nothing is."""
    return "" if current().dry_run else observe_left(at)


def worries(at: Reach, policy: DrillPolicy, found: tuple[Practised, ...]) -> tuple[str, ...]:
    """Say what a person should know although the drill passed."""
    said = []
    if not found:
        return ()
    newest, budget = found[0], at.block.rto_seconds
    if newest.writable_seconds and newest.writable_seconds > budget / 2:
        said.append(
            f"It took {newest.writable_seconds:.1f} s until writes, more than half of the {budget:g} s that it may take"
            " (rto_seconds): make it faster before the data have doubled."
        )
    earlier = [each for each in found[1:] if each.passed]
    overdue = timedelta(days=policy.overdue_days)
    if len(found) > 1 and (not earlier or datetime.now(UTC) - earlier[0].at.astimezone(UTC) > overdue):
        last = f"the last that passed was on {earlier[0].at:%Y-%m-%d}" if earlier else "none has passed"
        said.append(f"Drills are overdue: before this one {last}.")
    return tuple(said)
