"""The patient: a primary and its standbys, a pooler, and everything that can befall them."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.lab import schema, teardown
from tests.lab.account import CHECKOUT, binaries, place, unprivileged
from tests.lab.breaks import Breaks
from tests.lab.node import LabNode
from tests.lab.pooler import Pooler, pgbouncer_program
from tests.lab.ports import free_ports
from tests.lab.processes import wait_until
from tests.lab.wire import World, world_command, write_shell

if TYPE_CHECKING:
    from prefect.blocks.core import Block

POOLER = "pooler"
VAULT = "vault"  #: the host of the backup repository; drills build there
BOARD = "board"  #: reaches no host but what switches the hosts off


class Lab(Breaks):
    """A PostgreSQL cluster in one folder. `with Lab(root) as lab:` brings it up, and removes every trace of it."""

    def __init__(  # noqa: PLR0913 - each is one switch of the lab
        self,
        root: Path | None = None,
        nodes: int = 3,
        *,
        sync: bool = True,
        pooler: bool = True,
        proxies: bool = True,
        fast: bool = False,
        leash: bool = True,
        debian: Path | None = None,
    ) -> None:
        """Describe a lab; nothing is started.

        ROOT is made by the lab, must be enterable by the database's user, and is removed with it (None: a new
        temporary folder). SYNC: one standby must confirm each commit. PROXIES: a front per node, so that it can be
        cut off. FAST: no fsync; for tests that measure nothing. LEASH: the lab ends when this process does.
        DEBIAN: binaries of another PostgreSQL, for a program that logs in by a socket.
        """
        self.root = place() if root is None else root
        self.account = unprivileged()
        names = [f"n{i}" for i in range(1, nodes + 1)]
        ports = free_ports(2 * nodes + 4)
        self.spec: dict[str, Any] = {
            "names": names,
            "servers": dict(zip(names, ports, strict=False)),
            "ports": dict(zip(names, ports[nodes if proxies else 0 :], strict=False)),
            "doors": {"control": ports[-4], "agent": ports[-3]},
            "scratch": ports[-2],
            "pooler": ports[-1] if pooler and pgbouncer_program() else None,
            "sync": sync and nodes > 1,
            "fast": fast,
            "owner": os.getpid() if leash else None,
            "debian": str(debian or ""),
        }
        self.assemble()

    @classmethod
    def attach(cls, root: Path) -> Self:
        """Take hold of a lab that another process brought up."""
        lab = cls(root)
        lab.assemble(json.loads((root / "lab.json").read_text()))
        return lab

    def assemble(self, spec: dict[str, Any] | None = None) -> None:
        """Make the parts from their description."""
        spec = self.spec = spec or self.spec
        self.proxies = spec["ports"] != spec["servers"]
        self.sync: bool = spec["sync"]
        self.world = World(spec["doors"]["control"])
        folder = Path(spec.get("bin", ""))
        self.nodes = {
            name: LabNode(name, self.root, spec["ports"][name], spec["servers"][name], folder, self.account, self.world)
            for name in spec["names"]
        }
        self.pooler = Pooler(self.root / POOLER, spec["pooler"], self.account, self.world) if spec["pooler"] else None

    # --- life

    def __enter__(self) -> Self:
        """Bring it up."""
        return self.up()

    def __exit__(self, *_: object) -> None:
        """Remove every trace."""
        self.down()

    def up(self) -> Self:
        """Bring everything up; when that fails half-way, nothing is left."""
        try:
            self._prepare()
            self._start_nodes()
            if self.pooler:
                self.pooler.start(self.nodes["n1"])
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> None:
        """End every process of the lab and remove its folder. Doing it again does nothing."""
        world = getattr(self, "_world", None)
        teardown.remove(self.root, spare=frozenset())
        if world is not None:
            world.wait()

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o755)
        if not self.account.may("-x", self.root):
            raise RuntimeError(
                f"The user {self.account.name} cannot enter {self.root}; choose another folder for the lab."
            )
        self.spec["bin"] = self.spec["debian"] or str(binaries(self.account, self.root))
        (self.root / "lab.json").write_text(json.dumps(self.spec))
        self.assemble()
        (self.root / "jobs").mkdir()
        for name in [*self.nodes, VAULT, *([POOLER] if self.pooler else [])]:
            (self.root / name).mkdir()
            self.account.own(self.root / name)
            write_shell(self.root / name, name, self.spec["doors"]["agent"])
        self.board.parent.mkdir()
        write_shell(self.board.parent, BOARD, self.spec["doors"]["agent"])
        for node in self.nodes.values():
            node.disk.mkdir()
            self.account.own(node.disk)
        self._start_world()

    def _start_world(self) -> None:
        fronts = {
            node.name: {"port": node.port, "upstream": node.server_port} for node in self.nodes.values() if self.proxies
        }
        hosts = [*self.nodes, VAULT, *([POOLER] if self.pooler else [])]
        spec = {"hosts": hosts, "fronts": fronts, "doors": self.spec["doors"], "owner": self.spec["owner"]}
        (self.root / "world.json").write_text(json.dumps(spec))
        with (self.root / "world.log").open("w") as log:
            self._world = subprocess.Popen(
                world_command(self.root), cwd=CHECKOUT, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._world_answers, 20, "the lab's world to answer")

    def _world_answers(self) -> bool:
        if self._world.poll() is not None:
            raise RuntimeError((self.root / "world.log").read_text())
        return self.world.answers()

    def _start_nodes(self) -> None:
        first, *others = self.nodes.values()
        first.initialise()
        first.configure(fast=self.spec["fast"], socket=bool(self.spec["debian"]))
        for other in others:
            other.copy_from(first)
            other.configure(fast=self.spec["fast"])
            other.follow(first)
        first.start()
        schema.create(first, [node.name for node in others])
        with ThreadPoolExecutor() as pool:
            list(pool.map(LabNode.start, others))
        wait_until(lambda: len(self.streaming("n1")) == len(others), 30, "the standbys to stream")
        # The shop's tables are made: whoever breaks a standby at once must not find one that has not heard of them.
        wait_until(self._alike, 30, "the standbys to hold what the primary holds")
        if self.sync:
            schema.demand_confirmation(first, [node.name for node in others])

    def _alike(self) -> bool:
        """Whether every standby has applied what the primary has written."""
        behind = "SELECT 1 FROM pg_stat_replication WHERE replay_lsn < pg_current_wal_lsn() OR replay_lsn IS NULL"
        return not self.psql("n1", behind)

    def demand_archive(self) -> None:
        """Let no commit be acknowledged before the archive has it."""
        schema.demand_archive(self.nodes["n1"], [name for name in self.nodes if name != "n1"])

    def await_archived(self) -> None:
        """Wait until the archive has all that the primary has written."""
        behind = (
            "SELECT 1 FROM pg_stat_replication WHERE application_name = 'salvor_archive'"
            " AND flush_lsn >= pg_current_wal_flush_lsn()"
        )
        wait_until(lambda: bool(self.psql(self.primary(), behind)), 30, "the archive to have everything")

    # --- looking

    @property
    def vault(self) -> Path:
        """The folder of the host that keeps the backups: `repository`, and `scratch` for drills."""
        return self.root / VAULT

    @property
    def board(self) -> Path:
        """The program that switches hosts off, as a management board or a cloud's API does: `host 'off n1'`."""
        return self.root / BOARD / "host"

    def blocks(
        self, ledger: Path | str | None = None, *, power: bool = False, activity: bool = False
    ) -> list[tuple[str, Block]]:
        """Describe the lab as Salvor is told about it: (name, block) pairs; nothing is saved."""
        from tests.lab.blocks import describe  # noqa: PLC0415 - Prefect costs a second that no other use should pay

        return describe(self, ledger, power=power, activity=activity)

    def psql(self, name: str, statement: str, dbname: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement on a node as superuser, around the fronts, and return its rows."""
        return self.nodes[name].psql(statement, dbname)

    def streaming(self, name: str) -> list[str]:
        """List the standbys that stream from a node."""
        rows = self.psql(name, "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming' ORDER BY 1")
        return [row[0] for row in rows]

    def primaries(self) -> list[str]:
        """List the nodes that accept writes."""
        return [node.name for node in self.nodes.values() if node.in_recovery() is False]

    def primary(self) -> str:
        """Return the surviving primary: of several the one on the newest timeline."""
        found = self.primaries()
        if not found:
            raise LookupError("No node of the lab accepts writes.")
        return max(found, key=lambda name: self.nodes[name].timeline())

    def survivor(self) -> str:
        """Return the primary, or while there is none the standby that has applied the most."""
        if self.primaries():
            return self.primary()
        applied = "SELECT pg_last_wal_replay_lsn() - '0/0'"
        return max(self.standbys(), key=lambda name: self.psql(name, applied))

    def standbys(self) -> list[str]:
        """List the nodes that are in recovery."""
        return [node.name for node in self.nodes.values() if node.in_recovery()]

    def dsn(self, dbname: str = "orders") -> str:
        """Say how the application connects: through the pooler, else to whichever node accepts writes."""
        target = self.pooler.route() if self.pooler else self._multihost()
        return schema.client_conninfo(dbname, **target)

    def _multihost(self) -> dict[str, Any]:
        return {
            "host": ",".join(node.host for node in self.nodes.values()),
            "port": ",".join(str(node.port) for node in self.nodes.values()),
            "target_session_attrs": "read-write",
        }
