"""PgBouncer in front of the cluster, when the machine has it."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import psycopg

from tests.lab import processes
from tests.lab.account import Account
from tests.lab.node import HOST, PASSWORD, LabNode
from tests.lab.wire import World

DATABASE = "orders"

# md5: while there is no primary the shop logs in a hundred times a second, and the cost of SCRAM would be measured.
SETTINGS = """\
[databases]
%include {folder}/routing.ini

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = md5
auth_file = {folder}/users.txt
admin_users = salvor
logfile = {folder}/log
pidfile = {folder}/pid
pool_mode = transaction
max_client_conn = 400
default_pool_size = 20
server_login_retry = 0
server_connect_timeout = 2
query_wait_timeout = 30
"""


def pgbouncer_program() -> str | None:
    """Find PgBouncer; None when it is not installed."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Pooler:
    """One PgBouncer on a host of its own, with its routing in an included file."""

    def __init__(self, folder: Path, port: int, account: Account, world: World) -> None:
        """Describe it; nothing is started."""
        self.folder, self.port, self.account, self.world = folder, port, account, world
        self.host = HOST

    @property
    def routing_file(self) -> Path:
        """The included file that says where the database is."""
        return self.folder / "routing.ini"

    def start(self, primary: LabNode | None = None) -> None:
        """Start it, routed to PRIMARY, or to where it was routed before."""
        if primary is not None:
            self._write("pgbouncer.ini", SETTINGS.format(folder=self.folder, port=self.port))
            self._write("users.txt", "".join(f'"{user}" "{PASSWORD}"\n' for user in ("salvor", "shop")))
            self._write("routing.ini", f"{DATABASE} = host={primary.host} port={primary.port} dbname={DATABASE}\n")
        argv = [str(pgbouncer_program()), str(self.folder / "pgbouncer.ini")]
        self.world.spawn(argv, self.folder, self.folder / "out")
        processes.wait_until(self._answers, 10, "PgBouncer")

    def kill(self) -> None:
        """SIGKILL it."""
        processes.signal_all(self.folder, signal.SIGKILL)
        (self.folder / "pid").unlink(missing_ok=True)

    def route(self) -> dict[str, Any]:
        """Say where clients find it."""
        return {"host": self.host, "port": self.port}

    def admin(self, command: str) -> list[dict[str, str]]:
        """Run a command of the admin console and return its rows."""
        target = psycopg.conninfo.make_conninfo(**self.route(), user="salvor", password=PASSWORD, dbname="pgbouncer")
        with psycopg.connect(target, autocommit=True) as session:
            result = session.pgconn.exec_(command.encode())
            names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
            return [
                {name: (result.get_value(row, i) or b"").decode() for i, name in enumerate(names)}
                for row in range(result.ntuples)
            ]

    def _answers(self) -> bool:
        try:
            return bool(self.admin("SHOW VERSION")) or True
        except psycopg.OperationalError:
            return False

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        self.account.own(path)
