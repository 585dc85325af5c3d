"""The database cluster as Salvor sees it: its nodes, who may log in, and what routes to it."""

from __future__ import annotations

from typing import Literal, Self

from prefect.blocks.core import Block
from psycopg.conninfo import make_conninfo
from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from blocks.addresses import AbsolutePath
from blocks.errors import Misconfigured
from blocks.postgres_node import PostgresNode, ScriptFailed

__all__ = ["PostgresCluster", "PostgresNode", "ScriptFailed"]

SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


class PostgresCluster(Block):
    """A PostgreSQL primary with its standbys, recovered as one."""

    # Prefect would swallow a field that is misspelt.
    model_config = ConfigDict(extra="forbid")

    _block_type_name = "Salvor PostgreSQL cluster"
    _block_type_slug = "salvor-postgres-cluster"
    _description = "A PostgreSQL primary with its standbys: how Salvor looks at them, stops, promotes and rejoins them."

    nodes: list[PostgresNode] = Field(min_length=1, description="Every server of the cluster, the primary included.")
    user: str = Field(
        default="postgres",
        min_length=1,
        description="Role Salvor logs in as; a superuser, or granted what the README lists.",
    )
    password: SecretStr = Field(default=SecretStr(""), description="Password of that role; empty when none is asked.")
    dbname: str = Field(default="postgres", min_length=1, description="Database Salvor connects to.")
    replication_user: str = Field(
        default="replicator",
        min_length=1,
        description="Role of the standbys; pg_rewind and pg_basebackup log in as it too, so it needs REPLICATION and "
        "EXECUTE on pg_ls_dir, pg_stat_file and pg_read_binary_file.",
    )
    replication_password: SecretStr = Field(
        default=SecretStr(""), description="Password of that role; better leave it empty and give a passfile."
    )
    replication_passfile: AbsolutePath | None = Field(
        default=None,
        description="Password file (.pgpass) on every node that holds the replication password. With it no password is "
        "ever written into primary_conninfo.",
    )
    sslmode: SslMode = Field(
        default="prefer", description="How connections of Salvor and of the standbys are encrypted."
    )
    poolers: list[str] = Field(
        default_factory=list, description="Names of the PgBouncer blocks that route to this cluster."
    )
    env_files: list[str] = Field(
        default_factory=list, description="Names of the EnvFile blocks that route to this cluster."
    )
    databases: list[str] = Field(
        default_factory=list,
        description="Names of the application database blocks that live on this cluster; after a failover or a "
        "switchover consistency-check looks at their rows.",
    )
    sync_standbys: int = Field(
        default=0,
        ge=0,
        le=16,
        description="k of `ANY k (...)`: how many standbys must hold a commit in normal operation; 0 is asynchronous.",
    )
    poolers_are_the_only_way_in: bool = Field(
        default=False,
        description="Nothing but the poolers can reach the nodes (pg_hba.conf or the network sees to it); then cutting "
        "the route counts as a fence.",
    )
    activity_sql: str = Field(
        default="",
        description="Query whose column `at` is when the application committed rows lately, e.g. `SELECT created_at AS "
        "at FROM orders WHERE created_at > now() - interval '10 minutes'`; the outage is measured from it. Empty: the "
        "application does not write all the time, so its rows say nothing.",
    )
    activity_dbname: str = Field(default="", description="Database of that query; empty: the one Salvor connects to.")
    probe_deadline_seconds: float = Field(
        default=0.5, ge=0.05, le=30, description="Seconds a node is given to answer one look."
    )

    @field_validator("replication_passfile", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @model_validator(mode="after")
    def _nodes_differ(self) -> Self:
        names = [node.name for node in self.nodes]
        places = [(node.host, node.port) for node in self.nodes]
        if len(set(names)) < len(names):
            raise ValueError(f"Two nodes have the same name ({', '.join(names)}): every node needs its own.")
        if len(set(places)) < len(places):
            raise ValueError("Two nodes have the same host and port: one of them is not what it says.")
        return self

    def node(self, name: str) -> PostgresNode:
        """Give the node called NAME."""
        for node in self.nodes:
            if node.name == name:
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise Misconfigured(f"This cluster has no node `{name}`, only {known}: correct the name or the block.")

    def conninfo(self, name: str, dbname: str | None = None, application_name: str = "salvor") -> str:
        """Give the address of a node for Salvor, with the time-outs that a dead host needs."""
        node = self.node(name)
        return make_conninfo(
            host=node.host,
            port=node.port,
            user=self.user,
            password=self.password.get_secret_value() or None,
            dbname=dbname or self.dbname,
            application_name=application_name,
            sslmode=self.sslmode,
            connect_timeout=2,
            tcp_user_timeout=2000,
            keepalives_idle=1,
            keepalives_interval=1,
            keepalives_count=3,
            options="-c statement_timeout=2000",
        )

    def conninfos(self, application_name: str = "salvor") -> dict[str, str]:
        """Give the address of every node, by name."""
        return {node.name: self.conninfo(node.name, application_name=application_name) for node in self.nodes}

    def replication_conninfo(self, upstream: str, application_name: str) -> str:
        """Give the primary_conninfo with which the standby APPLICATION_NAME follows UPSTREAM.

        It is read by every superuser of the standby (pg_settings, postgresql.auto.conf) and, unless the statement that
        sets it is `unlogged`, by every reader of its log: with a passfile it holds no password at all.
        """
        node = self.node(upstream)
        passfile = self.replication_passfile
        return make_conninfo(
            host=node.replication_host or node.host,
            port=node.replication_port or node.port,
            user=self.replication_user,
            passfile=passfile,
            password=None if passfile else self.replication_password.get_secret_value() or None,
            application_name=application_name,
            sslmode=self.sslmode,
            connect_timeout=2,
            tcp_user_timeout=2000,
            keepalives_idle=1,
        )

    def copy_conninfo(self, upstream: str) -> str:
        """Give the address with which pg_rewind and pg_basebackup read from UPSTREAM, as the replication role."""
        replication = self.replication_conninfo(upstream, "salvor")
        return make_conninfo(replication, dbname=self.dbname)

    def load_conninfo(self, name: str, dbname: str) -> str:
        """Give the address with which a tool on another host loads rows into a node, as Salvor's role."""
        node = self.node(name)
        return make_conninfo(
            self.conninfo(name, dbname),
            host=node.replication_host or node.host,
            port=node.replication_port or node.port,
        )
