"""From a copied set to a server that takes writes."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from blocks.backup_records import set_name
from blocks.errors import Ambiguous, SalvorError, StandDown
from blocks.ledger import steps
from blocks.node_control import PatroniControl
from blocks.postgres_host import ScriptFailed
from blocks.prefect_runs import PrefectRuns
from blocks.restoring import RECOVERY_SETTINGS, SetUnfit, target_settings
from tasks.backups.reach import SCRATCH, SQL, Reach
from tasks.backups.state import Chain, RestorePlan, TakePlan
from tasks.guard import current
from tasks.report import log
from tasks.waiting import each

STOP_SECONDS = 30.0
LOOK_SECONDS = 0.02
ASK_SECONDS = 0.5  #: between two questions to Prefect, which has a failover to run
FAILOVER = "postgres-failover"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
#: A restored server must not look for a standby's confirmation, or for a primary.
ALONE = {"synchronous_standby_names": "", "primary_conninfo": "", "primary_slot_name": ""}


def in_place(at: Reach, plan: RestorePlan) -> bool:
    """Whether the set of this plan has already taken its place: an earlier run was cut off after that."""
    return plan.in_place and at.restoring(plan.node).look().get("restored") == plan.stamp


def hold_sets(at: Reach, plan: RestorePlan, chain: Chain) -> None:
    """Keep the sets from expiring while they are copied, where the repository can be written.

    In the name of what the lease is about, so that the run that goes on for a dead one lets go of what that one held.
    """
    try:
        at.repository.use(chain, plan.resource)
    except SalvorError as error:
        log(f"  the sets could not be held: {error}", warn=True)


def let_go(at: Reach, plan: RestorePlan) -> None:
    """Undo `hold_sets`."""
    try:
        at.repository.unuse(plan.resource)
    except SalvorError as error:
        log(f"  the sets could not be let go: {error}", warn=True)


def condemned(at: Reach, chain: Chain, error: SetUnfit) -> str:
    """Write down which set is damaged, so that nobody builds on it; where only the copy was, remove that."""
    for name, why in error.bad.items():
        try:
            at.repository.condemn(name, why)
        except SalvorError as failure:
            log(f"  {name} could not be marked as bad: {failure}", warn=True)
    return f"fell back: {chain[-1]} is damaged ({'; '.join(error.bad.values()) or error})"


def stop_all(at: Reach, plan: RestorePlan) -> str:
    """Stop every server whose host was reached, and prove that no process is left."""
    if plan.way != "restore" or in_place(at, plan):
        return "nothing to stop"

    def stop(name: str) -> str:
        node = at.node(name)
        if isinstance(node.control, PatroniControl):
            raise StandDown(
                f"Patroni owns {name}, and would start it again: pause Patroni and stop it, then run again."
            )
        if at.restoring(name).look().get("directory") != "present":
            return f"{name} has no directory"
        try:
            return f"{name} {_last(node.stop('fast', STOP_SECONDS, as_standby=True))}"
        except (Ambiguous, ScriptFailed):
            return f"{name} {_last(node.stop('kill', STOP_SECONDS, as_standby=True))}, killed"

    return "; ".join(each(plan.others, stop).values()) or "no server was reached"


def _last(text: str) -> str:
    return text.splitlines()[-1] if text else "gone"


def start_again(at: Reach, plan: RestorePlan) -> str:
    """Start what was running before, the primary first."""
    if plan.way != "restore":
        return "nothing was stopped"
    order = sorted(plan.running, key=lambda name: name != plan.was_primary)
    for name in order:
        node = at.node(name)
        if node.processes():
            continue
        if name == plan.was_primary:
            node.remove_standby_signal()
        node.start(STOP_SECONDS, as_standby=name != plan.was_primary)
    return f"started {', '.join(order)}" if order else "nothing was running"


def prepare(at: Reach, plan: RestorePlan) -> None:
    """Configure the copy: as its node is, to recover to the target and no further, and alone."""
    if plan.way != "restore" or in_place(at, plan):
        return
    restoring, aim = at.restoring(plan.node), plan.aim
    chain = restoring.look().get("chain", "").split()
    settings = target_settings(aim.kind, aim.value, aim.timeline, "promote") | ALONE
    drill = apart(at) if plan.node == SCRATCH else {}
    restoring.prepare(chain[-1] if chain else "", settings | drill, own=plan.node != SCRATCH)


def apart(at: Reach) -> dict[str, str]:
    """Give the settings with which a copy can harm nobody: above all it archives nothing."""
    node = at.node(SCRATCH)
    return {
        "port": str(node.port),
        "listen_addresses": node.host if node.host in LOOPBACK else "*",
        "unix_socket_directories": "",
        "max_logical_replication_workers": "0",  # it would take over the slots of its subscriptions
        "cron.launch_active_jobs": "off",  # and run the jobs of pg_cron
        "archive_mode": "off",
        "archive_command": "",
        "archive_library": "",
        "logging_collector": "off",
        "ssl": "off",
        "cluster_name": "salvor-drill",
    }


def put_back(at: Reach, plan: RestorePlan) -> str:
    """Let the old directory have its place again."""
    if not in_place(at, plan):
        return "nothing had changed places"
    return at.restoring(plan.node).unexchange(plan.stamp)


def stop(at: Reach, plan: RestorePlan) -> str:
    """Stop the restored server."""
    if plan.way != "restore" or not in_place(at, plan):
        return "nothing was started"
    return _last(at.node(plan.node).stop("kill", STOP_SECONDS))


def recover(at: Reach, plan: RestorePlan) -> str:
    """Start it, and wait until it takes writes; say where it stopped."""
    if plan.way == "failover":
        return handed_over(at)
    node, until = at.node(plan.node), time.monotonic() + plan.recover_seconds
    if not node.processes():
        try:
            node.start(plan.recover_seconds)
        except ScriptFailed as error:
            said = at.restoring(plan.node).complaints() or str(error)
            raise StandDown(f"The recovery failed: {said}") from error
    while not _writable(at, plan):
        if time.monotonic() > until:
            raise StandDown(f"The WAL was not replayed within {plan.recover_seconds} s (recover_seconds).")
        if not node.processes():
            raise StandDown(f"The recovery failed: {_complaints(at, plan)}")
        time.sleep(LOOK_SECONDS)
    if plan.way == "restore":  # what `prepare` has set; a server that was only started keeps its own
        at.sql(plan.node, *(f"ALTER SYSTEM RESET {name}" for name in RECOVERY_SETTINGS), "SELECT pg_reload_conf()")
    return f"it takes writes; {_complaints(at, plan)}"


def handed_over(at: Reach) -> str:
    """Let postgres-failover promote a standby, and wait for its end."""
    run, prefect = current().run, PrefectRuns()
    asked = {"target": at.target, "reason": f"{run.procedure}: {run.parameters.get('reason', '')}"}
    asked["requested_by"] = run.requested_by or run.procedure
    started = prefect.start(prefect.deployment(FAILOVER), asked, f"salvor-disaster-{run.id}")
    while not (standing := prefect.standing(started)) or not standing.over:
        if steps.stopped(current().ledger, run.id, current().token):
            raise StandDown(f"{FAILOVER} did not end in time: look at its run {started}.")
        time.sleep(ASK_SECONDS)
    return f"{FAILOVER} ended {standing.name}, as run {started}"


def _complaints(at: Reach, plan: RestorePlan) -> str:
    place = at.restoring(plan.node)
    return place.complaints() or "its log says nothing"


def _writable(at: Reach, plan: RestorePlan) -> bool:
    try:
        return not at.ask(plan.node, SQL["place"])[0]["in_recovery"]
    except SalvorError:
        return False


def is_protected(at: Reach, plan: RestorePlan) -> bool:
    """Whether there is a good set of the history that this recovery has begun: an earlier run was cut off after it."""
    now = int(at.ask(plan.node, SQL["place"])[0]["timeline"])
    return any(each.timeline == now and each.good for each in at.repository.look().sets)


def new_set(at: Reach, plan: RestorePlan) -> TakePlan:
    """Plan the full set that protects what was recovered."""
    row = at.ask(plan.node, SQL["place"])[0]
    size = at.ask(plan.node, SQL["size"], 60.0)[0]["bytes"]
    return TakePlan(
        resource=plan.resource,
        key=plan.key,
        why=plan.why,
        loss="",
        target=plan.target,
        node=plan.node,
        set_id=set_name("full", datetime.now(UTC)),
        kind="full",
        parent="",
        system_identifier=str(row["system_identifier"]),
        timeline=int(row["timeline"]),
        bytes=int(size),
        expire=(),
        keep_from=None,
        stream=at.block.stream_wal,
        anew=True,
        take_seconds=plan.restore_seconds,
    )
