"""Bringing one node back behind the primary: plain functions, each one operator's step.

Until `bring_back` the node's files are untouched, except that its next start is that of a standby.
"""

from __future__ import annotations

from blocks.errors import SalvorError
from blocks.postgres_node import PostgresNode, ScriptFailed
from tasks.postgres.following import RELOAD, await_streaming, create_slot, point
from tasks.postgres.reach import PATIENCE, Reach, quoted
from tasks.postgres.state import RejoinPlan

#: Seconds a server may take to stop in order before it is killed: nobody is meant to write to it any more.
STOP_SECONDS = 10.0
#: Seconds until a standby answers after its start, when much WAL has to be replayed.
START_SECONDS = 60.0
#: Room beyond the size of the primary, for the WAL that is written while it is copied.
SPARE_BYTES = 256 * 1024 * 1024


def retire(at: Reach, plan: RejoinPlan) -> str:
    """Stop the node if it runs, and make its next start that of a standby."""
    node = at.node(plan.node)
    if plan.way == "point":
        return f"{plan.node} runs as a standby already"
    if plan.way == "clone" and node.look(PATIENCE)["directory"] == "missing":
        return f"{plan.node} has no directory"
    if not node.processes(PATIENCE):
        node.write_standby_signal(PATIENCE)
        return f"{plan.node} does not run; its next start is that of a standby"
    try:
        return node.stop("fast", STOP_SECONDS, as_standby=True)
    except SalvorError:
        return node.stop("kill", STOP_SECONDS, as_standby=True)


def ready_primary(at: Reach, plan: RejoinPlan) -> str:
    """Write a checkpoint on the primary and keep WAL for the node.

    Without the checkpoint pg_rewind reads the old timeline from the primary's control file and ends with "no rewind
    required" on a diverged node.
    """
    at.sql(plan.primary, "CHECKPOINT", create_slot(plan.node), deadline=60.0)
    return f"{plan.primary} has a checkpoint on timeline {plan.timeline} and keeps WAL for {plan.node}"


def keep_discarded(at: Reach, plan: RejoinPlan) -> str:
    """List and keep what only this node holds: the commits after the point where the primary left its timeline."""
    if plan.way != "rewind":
        return "nothing is discarded"
    node = at.node(plan.node)
    own = int(node.control_data(PATIENCE)["Latest checkpoint's TimeLineID"])
    fork = fork_of(at, plan, own)
    if not fork:
        return f"{plan.node} is on the primary's own timeline: nothing is discarded"
    listed = node.waldump(own, fork, 60.0).out.splitlines()
    commits = [line for line in listed if "COMMIT" in line]
    place = node.keep_wal(own, fork, "\n".join(listed), 600.0)
    return f"{len(commits)} commits after {fork} exist only on {plan.node}; they are listed, with their WAL, in {place}"


def fork_of(at: Reach, plan: RejoinPlan, own: int) -> str:
    """Return where the primary's history left timeline OWN, or nothing when it is on it still."""
    if own >= plan.timeline:
        return ""
    return forks(history_of(at, plan)).get(str(own), "")


def history_of(at: Reach, plan: RejoinPlan) -> str:
    """Read where the primary's timeline came from."""
    name = quoted(f"pg_wal/{plan.timeline:08X}.history")
    return str(at.sql(plan.primary, f"SELECT pg_read_file({name}) AS history")[0]["history"])


def forks(history: str) -> dict[str, str]:
    """Return where each timeline of a history file was left."""
    lines = [line.split() for line in history.splitlines() if line.strip()]
    return {parts[0]: parts[1] for parts in lines}


def bring_back(at: Reach, plan: RejoinPlan) -> str:
    """Rewind the node's files to the primary's history; copy the primary when that is impossible."""
    node, source = at.node(plan.node), at.cluster.copy_conninfo(plan.primary)
    if plan.way in ("point", "start"):
        if not of_its_own(at, plan, node):
            return f"the files of {plan.node} are right as they are"
        node.stop("fast", STOP_SECONDS, as_standby=True)
        return f"{plan.node} began timeline {plan.timeline} by itself; {clone(at, plan, node, source)}"
    if plan.way == "clone":
        return clone(at, plan, node, source)
    done = node.rewind(source, plan.copy_seconds)
    if done.rc == 0:
        return f"{plan.node} was rewound to {plan.primary}"
    if not plan.allow_clone:
        raise SalvorError(f"{plan.node} could not be rewound ({done.said}); run again with `allow_clone` to copy it.")
    return f"a rewind was impossible ({done.said}); {clone(at, plan, node, source)}"


def of_its_own(at: Reach, plan: RejoinPlan, node: PostgresNode) -> bool:
    """Whether the node and the primary were both promoted, and gave their timelines the same number."""
    if plan.timeline == 1:
        return False
    own, theirs = f"pg_wal/{plan.timeline:08X}.history", history_of(at, plan)
    try:
        said = node.read_file(own, PATIENCE)
    except ScriptFailed:  # it has never heard of this timeline
        return False
    return forks(said) != forks(theirs)


def clone(at: Reach, plan: RejoinPlan, node: PostgresNode, source: str) -> str:
    """Copy the primary beside the old directory, then let them change places."""
    query = "SELECT sum(pg_database_size(oid))::bigint AS bytes FROM pg_database"
    needed = int(at.sql(plan.primary, query, deadline=60.0)[0]["bytes"]) + SPARE_BYTES
    node.remove_copy(600.0)
    if (free := node.free_bytes()) < needed:
        raise SalvorError(
            f"A copy of {plan.primary} needs {needed >> 20} MB and {plan.node} has {free >> 20} MB free beside "
            f"{node.data_directory}: make room, then run this again. Nothing was removed."
        )
    node.basebackup(source, node.copy_directory, plan.copy_seconds, slot=plan.node)
    kept = node.exchange_directory(60.0)
    return f"{plan.primary} was copied; {kept}"


def start_following(at: Reach, plan: RejoinPlan) -> str:
    """Point the node at the primary, start it, and wait until it streams; then let commits wait for it again."""
    node, slot = at.node(plan.node), plan.node
    if plan.way == "point":
        point(at, plan.node, plan.primary, slot=True)
    elif not node.processes(PATIENCE):
        conninfo = at.cluster.replication_conninfo(plan.primary, plan.node)
        node.write_settings({"primary_conninfo": conninfo, "primary_slot_name": slot}, PATIENCE)
        node.start(START_SECONDS, as_standby=True)
    if await_streaming(at, plan.primary, {plan.node}, plan.stream_seconds):
        return f"{plan.node} runs but does not stream yet after {plan.stream_seconds} s"
    at.sql(plan.primary, f"ALTER SYSTEM SET synchronous_standby_names = {quoted(plan.sync_names)}", RELOAD)
    return f"{plan.node} streams from {plan.primary}"
