"""The lab's patient under Patroni: the same servers, shop and pooler, but etcd and three Patronis decide who leads."""

from __future__ import annotations

import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml
from packaging.requirements import Requirement

from blocks.node_control import PatroniControl
from blocks.patroni import Patroni
from blocks.postgres import PostgresCluster
from tests.lab import schema
from tests.lab.account import unprivileged
from tests.lab.cluster import Lab
from tests.lab.node import HOST, PASSWORD, LabNode
from tests.lab.ports import free_ports
from tests.lab.processes import wait_until

ETCD = shutil.which("etcd")
#: As short as Patroni lets them be.
PACE = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}
PARAMETERS = {
    "fsync": "off",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",
    "io_method": "sync",
    "log_line_prefix": "%m [%p] %q%a ",
    "log_statement": "all",
}
HBA = ["host all all 127.0.0.1/32 scram-sha-256", "host replication replicator 127.0.0.1/32 scram-sha-256"]


def interpreter() -> Path | None:
    """Find a Python that the database's user may execute; None when there is none of our version."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folders = (Path(os.path.realpath(sys.executable)).parent, Path("/usr/bin"), Path("/usr/local/bin"))
    return next((folder / name for folder in folders if unprivileged().may("-x", folder / name)), None)


def missing() -> str:
    """Say what keeps Patroni from running here; empty when nothing does."""
    if ETCD is None:
        return "etcd is not installed: apt-get install etcd-server"
    if interpreter() is None:
        return "no Python of this version can be executed by the database's user"
    return ""


def copy_packages(into: Path, *wanted: str) -> None:
    """Copy installed packages with all they need to where the database's user may read them."""
    waiting, done = [Requirement(text) for text in wanted], set()
    while waiting:
        requirement = waiting.pop()
        if requirement.name in done:
            continue
        done.add(requirement.name)
        package = metadata.distribution(requirement.name)
        for file in package.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (into / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(package.locate_file(file), into / file)
        extras = ("", *requirement.extras)
        needs = [Requirement(text) for text in package.requires or ()]
        waiting += [n for n in needs if n.marker is None or any(n.marker.evaluate({"extra": e}) for e in extras)]


class PatroniLab(Lab):
    """Three servers that Patroni starts, promotes and rejoins; n1 leads first."""

    def __init__(self) -> None:
        """Describe it; nothing is started."""
        super().__init__(proxies=False, sync=False, fast=True)
        self.etcd, self.peer, *rest = free_ports(2 + len(self.nodes))
        self.rest = dict(zip(self.nodes, rest, strict=True))

    def _start_nodes(self) -> None:
        copy_packages(self.root / "site", "patroni[etcd3]", "psycopg[binary]")
        self._start_etcd()
        for name in self.nodes:
            self.start_patroni(name)
            wait_until(lambda name=name: self.state(name) in ("running", "streaming"), 60, f"{name} under Patroni", 0.1)
        self._create()

    def _start_etcd(self) -> None:
        folder = self.root / "etcd"
        folder.mkdir()
        self.account.own(folder)
        client, peer = f"http://{HOST}:{self.etcd}", f"http://{HOST}:{self.peer}"
        argv = [str(ETCD), "--data-dir", str(folder / "data"), "--listen-client-urls", client]
        argv += ["--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        self.world.spawn([*argv, "--initial-cluster", f"default={peer}"], folder, folder / "log")
        wait_until(lambda: answers(f"{client}/health"), 20, "etcd to answer", 0.1)

    def start_patroni(self, name: str) -> None:
        """Start the Patroni of a node; it starts the server."""
        node = self.nodes[name]
        file = node.folder / "patroni.yml"
        file.write_text(yaml.safe_dump(self._configuration(node)))
        self.account.own(file)
        argv = ["/usr/bin/env", f"PYTHONPATH={self.root / 'site'}", str(interpreter()), "-m", "patroni", str(file)]
        self.world.spawn(argv, node.folder, node.log)

    def _configuration(self, node: LabNode) -> dict[str, Any]:
        rest, server = f"{HOST}:{self.rest[node.name]}", f"{HOST}:{node.server_port}"
        users = {"superuser": "postgres", "replication": "replicator"}
        return {
            "scope": "orders",
            "name": node.name,
            "restapi": {"listen": rest, "connect_address": rest},
            "etcd3": {"host": f"{HOST}:{self.etcd}"},
            "bootstrap": {
                "dcs": {**PACE, "synchronous_mode": True, "postgresql": {"use_pg_rewind": True}},
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, "data-checksums", "no-sync"],
            },
            "postgresql": {
                "listen": server,
                "connect_address": server,
                "data_dir": str(node.data),
                "bin_dir": str(node.bin),
                "pgpass": str(node.folder / "pgpass"),
                "authentication": {what: {"username": who, "password": PASSWORD} for what, who in users.items()},
                "parameters": PARAMETERS,
                "pg_hba": HBA,
            },
            "watchdog": {"mode": "off"},
        }

    def _create(self) -> None:
        """Make the shop's database, as the lab has it; the role for replication is Patroni's."""
        with psycopg.connect(self.nodes["n1"].conninfo(), autocommit=True) as session:
            for role, rights in {"salvor": "SUPERUSER", "shop": ""}.items():
                session.execute(f"CREATE ROLE {role} LOGIN {rights} PASSWORD '{PASSWORD}'")  # type: ignore[call-overload]
            session.execute("CREATE DATABASE orders OWNER shop")
        with psycopg.connect(self.nodes["n1"].conninfo("orders"), autocommit=True) as session:
            session.execute(schema.TABLES)

    # --- looking

    def patroni(self, name: str) -> Patroni:
        """Speak to the Patroni of a node."""
        return Patroni(f"http://{HOST}:{self.rest[name]}")

    def state(self, name: str) -> str:
        """Say how Patroni calls the state of a node; empty when it does not answer."""
        try:
            found = httpx.get(f"http://{HOST}:{self.rest[name]}/cluster", timeout=2).json()
        except httpx.HTTPError:
            return ""
        return next((str(member["state"]) for member in found.get("members", ()) if member["name"] == name), "")

    def block_fields(self, cluster: PostgresCluster) -> dict[str, Any]:
        """Return what differs in the cluster's block: every node is Patroni's."""
        controls = {name: PatroniControl(url=f"http://{HOST}:{port}") for name, port in self.rest.items()}
        return {"nodes": [node.model_copy(update={"control": controls[node.name]}) for node in cluster.nodes]}


def answers(url: str) -> bool:
    """Whether somebody is at URL."""
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False
