"""Backup: keep a recovery set of a database, prove that it is whole, and let old ones go.

**Meaning.** A set is the files of the database, the numbers a restore is compared with, and each node's configuration;
with restic also the application's files and its Redis, and a copy of all of it offsite. WAL is streamed beside it, so
that every later moment can be restored as well.

**Impact.** Reading: the primary is copied over the network, at the speed of its disk. Nothing waits for it.

**Diagnosis.** *Refused* says what speaks against it: no space, another cluster's repository, a damaged page.
*Unverified* means that a set was kept which does not pass; it is marked and never restored. The report names what was
expired; where the repository has no room for another set beside what is too old, that goes first.

**Mitigation.** Run this; it runs every night. Whether a set can be restored is proved by backup-drill alone. A backup
that died is removed by the next one. A set that others build on, that is the last good one, or that a run restores
from is never expired.
"""

from __future__ import annotations

from prefect import flow

from flows.procedure import concludes
from tasks.backups.decide_take import decide_take
from tasks.backups.judge_take import judge_take, unlooked_take
from tasks.backups.outcome_probe import observe_kept
from tasks.backups.policies import BackupPolicy
from tasks.backups.probe import observe_backups
from tasks.backups.reach import reach
from tasks.backups.take_act import expire_sets, make_room, stream_wal, take_set
from tasks.guard import approve
from tasks.model import Report


@flow(name="backup-take", flow_run_name="backup-{target}", description=__doc__, validate_parameters=False)
@concludes
def backup_take(
    target: str,
    policy: BackupPolicy = BackupPolicy(),  # noqa: B008 - a frozen value, and the form's defaults
    reason: str = "",
    requested_by: str = "",
    alert: str = "",
) -> Report:
    """Keep a set of a cluster in its repository.

    Args:
        target: Which cluster: the name of its block, and of its backup repository, under Blocks, e.g. orders.
        policy: Which kind of set, and for how long sets are kept.
        reason: Why, in your words; kept in the report.
        requested_by: Your name.
        alert: Leave it empty. An alert fills in its fingerprint.
    """
    at = reach(target)

    before = observe_backups(at, sized=True)
    plan = approve(decide_take(before, policy), policy, lambda: decide_take(observe_backups(at, sized=True), policy))

    stream_wal(at, plan)
    make_room(at, plan)
    take_set(at, plan)
    expire_sets(at, plan)  # the point of no return

    after, arrived, checksums = observe_kept(at, plan)
    return Report(
        plan=plan,
        evidence=judge_take(plan, after, arrived),
        unverified=unlooked_take(plan, after, checksums=checksums),
    )
