"""What the small SaaS keeps in its database, and who may connect to it."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.lab.node import PASSWORD, LabNode

# `orders` is guarded by its key; `charges` deliberately is not, so that an effect done twice is there to be counted.
TABLES = """
CREATE EXTENSION amcheck;
CREATE TABLE orders (
    client text NOT NULL, seq bigint NOT NULL, attempt int NOT NULL, placed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client, seq)
);
CREATE TABLE charges (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, client text NOT NULL, seq bigint NOT NULL, cents int NOT NULL
);
ALTER TABLE orders OWNER TO shop;
ALTER TABLE charges OWNER TO shop;
"""
#: What the WAL stream into the backup repository calls itself.
ARCHIVE = "salvor_archive"
ARCHIVE_CONFIRMS = f"SELECT 1 FROM pg_stat_replication WHERE application_name = '{ARCHIVE}' AND sync_state = 'sync'"
# What pg_rewind reads from its source, as its documentation lists it.
REWIND = """
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO replicator;
GRANT EXECUTE ON FUNCTION pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;
"""


def create(primary: LabNode, standbys: list[str]) -> None:
    """Make roles, slots, the database and its tables."""
    with psycopg.connect(primary.conninfo(), autocommit=True) as session:
        for role, rights in {"salvor": "SUPERUSER", "replicator": "REPLICATION", "shop": ""}.items():
            session.execute(f"CREATE ROLE {role} LOGIN {rights} PASSWORD '{PASSWORD}'")  # type: ignore[call-overload]
        session.execute(REWIND)
        for name in standbys:
            session.execute("SELECT pg_create_physical_replication_slot(%s, true)", [name])
        session.execute("CREATE DATABASE orders OWNER shop")
    with psycopg.connect(primary.conninfo("orders"), autocommit=True) as session:
        session.execute(TABLES)


def demand_confirmation(primary: LabNode, standbys: list[str]) -> None:
    """Let no commit be acknowledged before one standby has it."""
    primary.psql(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({','.join(standbys)})'")
    primary.psql("SELECT pg_reload_conf()")


def demand_archive(primary: LabNode, standbys: list[str]) -> None:
    """Let no commit be acknowledged before the archive has it, and one of STANDBYS (while it is away: two of them)."""
    names = [ARCHIVE, *standbys]
    rule = f"FIRST {min(2, len(names))} ({','.join(names)})"
    primary.psql(f"ALTER SYSTEM SET synchronous_standby_names = '{rule}'")
    primary.psql("SELECT pg_reload_conf()")


def client_conninfo(dbname: str, **target: Any) -> str:
    """Say how the application connects to TARGET."""
    return psycopg.conninfo.make_conninfo(
        dbname=dbname, user="shop", password=PASSWORD, connect_timeout=2, application_name="shop", **target
    )
