"""Letting a standby follow a primary, and waiting until it does."""

from __future__ import annotations

from tasks.postgres.reach import PATIENCE, SQL, Reach, quoted
from tasks.waiting import until

RELOAD = "SELECT pg_reload_conf()"


def point(at: Reach, name: str, upstream: str, *, slot: bool = False, seconds: float = PATIENCE) -> str:
    """Let the standby NAME follow UPSTREAM, by reload: no restart, and reading clients stay."""
    conninfo = quoted(at.cluster.replication_conninfo(upstream, name))
    statements = [f"ALTER SYSTEM SET primary_conninfo = {conninfo}"]
    statements += [f"ALTER SYSTEM SET primary_slot_name = {quoted(name)}"] if slot else []
    # Without a password file the statement holds the password of the replication role.
    at.sql(name, *statements, RELOAD, deadline=seconds, unlogged=not at.cluster.replication_passfile)
    return f"{name} follows {upstream}"


def create_slot(name: str) -> str:
    """Return the statement that reserves WAL for NAME unless it is reserved already."""
    return SQL["create_slot"].replace("%(slot)s", quoted(name))


def await_streaming(at: Reach, primary: str, names: set[str], seconds: float) -> list[str]:
    """Wait until NAMES have been seen to stream what PRIMARY has written by now; return those that were not in time."""
    # After a promotion a standby streams the rest of the old timeline first, and that stream ends once more.
    written = at.sql(primary, SQL["recovery"])[0]["replayed_lsn"]
    unseen = set(names)

    def complete() -> bool:
        unseen.difference_update(r["name"] for r in at.sql(primary, SQL["streaming"]) if r["flushed_lsn"] >= written)
        return not unseen

    until(complete, seconds)
    return sorted(unseen)
