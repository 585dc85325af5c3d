"""A real PgBouncer in front of a real server, for the tests of its block."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from blocks.errors import Transient
from blocks.node_control import LocalControl
from blocks.pgbouncer import PgBouncer
from tests.blocks.servers import PASSWORD, Server, account, dropping, free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
SETTINGS = """\
[databases]
%include {folder}/routing.ini
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
admin_users = salvor
pool_mode = transaction
server_login_retry = 0
logfile = {folder}/log
"""


class Pooler:
    """One PgBouncer and the block that leads it."""

    def __init__(self, root: Path, server: Server) -> None:
        self.folder = root / "pgbouncer"
        self.folder.mkdir()
        os.chown(self.folder, account().pw_uid, account().pw_gid)
        self.routing = self.folder / "routing.ini"
        self.block = PgBouncer(
            host="127.0.0.1",
            port=free_port(),
            user="salvor",
            password=PASSWORD,
            databases=["orders"],
            routing_file=str(self.routing),
            control=LocalControl(run_as=account().pw_name),
        )
        self._write("routing.ini", f"orders = host=127.0.0.1 port={server.node.port} dbname=postgres pool_size=3\n"
                    f"other = host=127.0.0.1 port={server.node.port} dbname=postgres\n")  # fmt: skip
        self._write("users.txt", f'"salvor" "{PASSWORD}"\n"postgres" "{PASSWORD}"\n')
        self._write("pgbouncer.ini", SETTINGS.format(folder=self.folder, port=self.block.port))

    def start(self) -> subprocess.Popen[bytes]:
        """Start it and wait until it answers."""
        assert PROGRAM
        argv = [PROGRAM, str(self.folder / "pgbouncer.ini")]
        process = subprocess.Popen(argv, stderr=subprocess.DEVNULL, cwd="/", **dropping())
        for _ in range(200):
            try:
                self.block.show_databases()
            except Transient:
                time.sleep(0.02)
            else:
                return process
        process.kill()
        raise AssertionError((self.folder / "log").read_text())

    def client(self, database: str = "orders") -> psycopg.Connection:
        """Log in as an application does."""
        login = {"host": "127.0.0.1", "port": self.block.port, "user": "postgres", "password": PASSWORD}
        return psycopg.connect(dbname=database, autocommit=True, prepare_threshold=None, **login)

    def shows(self, database: str = "orders") -> tuple[str, bool, bool]:
        """Give host:port, paused and disabled."""
        row = next(r for r in self.block.show_databases() if r.name == database)
        return f"{row.host}:{row.port}", row.paused, row.disabled

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        os.chown(self.folder / name, account().pw_uid, account().pw_gid)


@contextmanager
def pooler(root: Path, server: Server):
    """Start a PgBouncer in front of SERVER, or skip the test where there is none."""
    if PROGRAM is None:
        pytest.skip("no pgbouncer here")
    it = Pooler(root, server)
    process = it.start()
    it.process = process
    try:
        yield it
    finally:
        process.kill()
        process.wait()
