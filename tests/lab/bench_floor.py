"""The floor: a bare script that moves a primary with psycopg and a shell, without Prefect and without our code.

It is as careful as ours (three misses, no standby hears, a fence before the promotion, the synchronous rule before the
first write), but has no ledger, no lease, no undo, no report, and nobody can see what it does.
"""

from __future__ import annotations

import asyncio
import select
import shlex
import subprocess
import time
from collections.abc import Callable
from typing import Any, Self

import psycopg

from tests.lab.cluster import Lab
from tests.lab.node import PASSWORD

MISSES = 3
INTERVAL_SECONDS = 0.5
ALARMED_SECONDS = 0.1
DEADLINE_SECONDS = 0.5
HEARD = (
    "SELECT coalesce(bool_or(status = 'streaming' AND clock_timestamp() - last_msg_receipt_time < '1.5 s'), false)"
    " FROM pg_stat_wal_receiver"
)
POSITION = "SELECT (greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::bigint"
SLOT = (
    "SELECT pg_create_physical_replication_slot('{0}', true)"
    " WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{0}')"
)
# By the directory they stand in, as the dead postmaster's orphans cannot be found otherwise.
KILL = """
for p in $(ls -l /proc/[0-9]*/cwd 2>/dev/null | sed -n "s|.*/proc/\\([0-9]*\\)/cwd -> $D\\$|\\1|p"); do kill -9 $p; done
! ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -q -- " -> $D\\$"
"""


class Bare:
    """One operator's script for one lab; `with` opens its connections before there is trouble."""

    def __init__(self, lab: Lab, dead: str = "") -> None:
        """Look who is who; DEAD is a node that is to be brought back."""
        self.lab = lab
        self.old = dead or lab.primary()
        self.standbys = lab.standbys()
        self.links = {name: self._connect(name) for name in lab.nodes if name != dead}
        self.console = psycopg.connect(**self._pooler(), autocommit=True)

    def __enter__(self) -> Self:
        """Be ready."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go."""
        for link in (*self.links.values(), self.console):
            link.close()

    def failover(self, *, frozen: bool = False) -> None:
        """Notice that the primary is gone, fence it, promote, reroute."""
        self._await_death()
        if not frozen:  # a frozen host cannot be reached: there the synchronous rule is the fence
            self._host(self.old, KILL)
        self.stop_receiving()
        self._until(lambda: not any(self.sql(n, "SELECT 1 FROM pg_stat_wal_receiver") for n in self.standbys))
        new = max(self.standbys, key=lambda name: int(self.sql(name, POSITION)[0][0]))
        self._take_over(new)
        self._route(new)
        if frozen:
            self._tell("KILL orders")
            self._tell("RESUME orders")
        self._follow(new)

    def switchover(self) -> None:
        """Hand over: checkpoint, hold clients, stop, promote, reroute, let clients go on."""
        new = self.standbys[0]
        self.sql(self.old, "CHECKPOINT")
        self._tell("PAUSE orders")
        node = self.lab.nodes[self.old]
        self._host(self.old, f"{node.bin}/pg_ctl stop -D $D -m fast -w -s && {node.bin}/pg_controldata $D >/dev/null")
        self._until(lambda: not self.sql(new, "SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"))
        self._take_over(new)
        self._route(new)
        self._tell("RESUME orders")
        self._follow(new)

    def rejoin(self, new: str) -> None:
        """Bring the old primary back with pg_rewind and a start."""
        node = self.lab.nodes[self.old]
        self.sql(new, "CHECKPOINT", SLOT.format(self.old))
        source = f"host={node.host} port={self.lab.nodes[new].port} user=replicator password={PASSWORD} dbname=postgres"
        settings = f"primary_conninfo = '{node.upstream(self.lab.nodes[new])}'\nprimary_slot_name = '{self.old}'\n"
        self._host(
            self.old,
            "cp $D/postgresql.conf $D/pg_hba.conf $D/.. && "
            f"{node.bin}/pg_rewind -D $D --source-server={shlex.quote(source)}"
            " && cp $D/../postgresql.conf $D/../pg_hba.conf $D"
            f" && printf %s {shlex.quote(settings)} >$D/postgresql.auto.conf"
            f" && touch $D/standby.signal && {node.bin}/pg_ctl start -D $D -w -s -l $D/../../log",
        )
        streams = f"SELECT 1 FROM pg_stat_replication WHERE application_name = '{self.old}' AND state = 'streaming'"
        self._until(lambda: bool(self.sql(new, streams)))

    def stop_receiving(self) -> None:
        """Take the standbys off the primary."""
        for name in self.standbys:
            self.sql(name, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")

    def trust_all(self, new: str) -> None:
        """Let commits on NEW wait for any of the others again."""
        names = ", ".join(name for name in self.lab.nodes if name != new)
        self.sql(new, f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({names})'", "SELECT pg_reload_conf()")

    # --- steps

    def _await_death(self) -> None:
        misses, pause = 0, INTERVAL_SECONDS
        held = self.links[self.old]
        while misses < MISSES or any(self.sql(name, HEARD)[0][0] for name in self.standbys):
            if misses:
                time.sleep(pause)
            else:  # a held connection that breaks says so at once
                select.select([held.fileno()], [], [], INTERVAL_SECONDS)
            missed = asyncio.run(self._probe())
            misses, pause = (misses + 1 if missed else 0), ALARMED_SECONDS if missed == "refused" else 0.0

    async def _probe(self) -> str:
        """Say how the primary did not answer; a silent one takes the whole deadline."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                link = await psycopg.AsyncConnection.connect(self._conninfo(self.old))
                await link.close()
        except TimeoutError:
            return "silent"
        except psycopg.OperationalError:
            return "refused"
        return ""

    def _take_over(self, new: str) -> None:
        names = ", ".join(name for name in self.standbys if name != new)
        rule = f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({names})'"
        self.sql(new, rule, "SELECT pg_reload_conf()", "SELECT pg_promote(false)")
        self._until(lambda: not self.sql(new, "SELECT pg_is_in_recovery()")[0][0])

    def _route(self, new: str) -> None:
        pooler, node = self.lab.pooler, self.lab.nodes[new]
        assert pooler is not None
        fresh = pooler.routing_file.with_suffix(".new")
        fresh.write_text(f"orders = host={node.host} port={node.port} dbname=orders\n")
        self.lab.account.own(fresh)
        fresh.replace(pooler.routing_file)
        self._tell("RELOAD")

    def _follow(self, new: str) -> None:
        for name in self.standbys:
            if name != new:
                self.sql(new, SLOT.format(name))
                line = self.lab.nodes[name].upstream(self.lab.nodes[new])
                self.sql(name, f"ALTER SYSTEM SET primary_conninfo = '{line}'", "SELECT pg_reload_conf()")

    # --- means

    def _conninfo(self, name: str) -> str:
        node = self.lab.nodes[name]
        return psycopg.conninfo.make_conninfo(
            host=node.host, port=node.port, user="salvor", password=PASSWORD, dbname="postgres"
        )

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self._conninfo(name), autocommit=True)

    def _pooler(self) -> dict[str, Any]:
        assert self.lab.pooler is not None
        return {**self.lab.pooler.route(), "user": "salvor", "password": PASSWORD, "dbname": "pgbouncer"}

    def sql(self, name: str, *statements: str) -> list[Any]:
        """Execute STATEMENTS on a connection that is open already."""
        for statement in statements:
            cursor = self.links[name].execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []

    def _tell(self, command: str) -> None:
        self.console.pgconn.exec_(command.encode())

    def _host(self, name: str, script: str) -> None:
        node = self.lab.nodes[name]
        subprocess.run(
            [node.host_shell, f"D={node.data}\n{script}"], check=True, stdin=subprocess.DEVNULL, capture_output=True
        )

    @staticmethod
    def _until(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError("The bare script waited for 30 s.")
            time.sleep(0.002)
