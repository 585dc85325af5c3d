"""Letting a standby follow a primary, and waiting until it does."""

from __future__ import annotations

from tasks.postgres.reach import SQL, Reach, quoted
from tasks.postgres.waiting import until

RELOAD = "SELECT pg_reload_conf()"


def point(at: Reach, name: str, upstream: str, *, slot: bool = False) -> str:
    """Let the standby NAME follow UPSTREAM, by reload: no restart, and reading clients stay."""
    conninfo = quoted(at.cluster.replication_conninfo(upstream, name))
    statements = [f"ALTER SYSTEM SET primary_conninfo = {conninfo}"]
    statements += [f"ALTER SYSTEM SET primary_slot_name = {quoted(name)}"] if slot else []
    # Without a password file the statement holds the password of the replication role.
    at.sql(name, *statements, RELOAD, unlogged=not at.cluster.replication_passfile)
    return f"{name} follows {upstream}"


def create_slot(name: str) -> str:
    """Return the statement that reserves WAL for NAME unless it is reserved already."""
    return SQL["create_slot"].replace("%(slot)s", quoted(name))


def await_streaming(at: Reach, primary: str, names: set[str], seconds: float) -> list[str]:
    """Wait until NAMES stream from PRIMARY; return those that do not in time."""

    def missing() -> set[str]:
        return names - {row["name"] for row in at.sql(primary, SQL["streaming"])}

    until(lambda: not missing(), seconds)
    return sorted(missing())
