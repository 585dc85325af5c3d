"""One PostgreSQL server of the lab, on a host of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.lab import processes
from tests.lab.account import Account
from tests.lab.wire import World

HOST = "127.0.0.1"
#: Throw-away: the lab listens on loopback only and is removed with its files.
PASSWORD = "lab-only"

SETTINGS = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
shared_buffers = 32MB
dynamic_shared_memory_type = mmap  # inside the data directory, so that a SIGKILL leaves nothing in /dev/shm
wal_level = replica
wal_log_hints = on
hot_standby = on
hot_standby_feedback = on
max_wal_senders = 10
max_replication_slots = 10
wal_keep_size = 512MB
max_slot_wal_keep_size = 2GB
wal_receiver_timeout = 2s
wal_sender_timeout = 3s
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 100ms
log_line_prefix = '%m [%p] %q%a '
timezone = 'UTC'
{more}
"""
NEW = "io_method = sync\nsummarize_wal = on\n"  #: what PostgreSQL 15 does not know
# Not durable and not honest about time: for tests that want rows, not seconds.
FAST = "fsync = off\nsynchronous_commit = on\n"
HBA = """\
host all         all        127.0.0.1/32 scram-sha-256
host replication replicator 127.0.0.1/32 scram-sha-256
"""


@dataclass
class LabNode:
    """A server with its host: `port` is its address for everyone, `server_port` the way around the fronts."""

    name: str
    root: Path
    port: int
    server_port: int
    bin: Path
    account: Account
    world: World = field(repr=False)
    host: str = HOST

    @property
    def folder(self) -> Path:
        """The host's only folder."""
        return self.root / self.name

    @property
    def disk(self) -> Path:
        """What can be full: the data directory and whatever is put beside it."""
        return self.folder / "disk"

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.disk / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "log"

    @property
    def host_shell(self) -> Path:
        """The program that runs a script on the host: `host 'uptime'`."""
        return self.folder / "host"

    # --- its files

    def initialise(self) -> None:
        """Make a new, empty cluster."""
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        self.account.own(secret)
        self._run(
            "initdb", "-D", self.data, "--no-sync", "--no-locale", "-E", "UTF8", "-U", "postgres", "--no-instructions",
            "-A", "scram-sha-256", "--pwfile", secret, "-k",
        )  # fmt: skip

    def copy_from(self, other: LabNode) -> None:
        """Take the files of another node that was never started."""
        self._run("cp", "-a", other.data, self.data)

    def configure(self, *, fast: bool = False, socket: bool = False) -> None:
        """Write the settings of the lab. SOCKET: whoever is on its host may log in there without a password."""
        more = (FAST if fast else "") + (NEW if (self.bin / "pg_combinebackup").exists() else "")
        more += f"unix_socket_directories = '{self.folder}'\n" if socket else ""
        self._write("postgresql.conf", SETTINGS.format(port=self.server_port, more=more))
        self._write("pg_hba.conf", HBA + ("local all postgres trust\n" if socket else ""))

    def follow(self, primary: LabNode) -> None:
        """Make it a standby of PRIMARY, as `pg_basebackup -R -S` would."""
        line = self.upstream(primary)
        self._write("postgresql.auto.conf", f"primary_conninfo = '{line}'\nprimary_slot_name = '{self.name}'\n")
        self.follow_signal()

    def follow_signal(self) -> None:
        """Let its next start be that of a standby."""
        self._write("standby.signal", "")

    def upstream(self, primary: LabNode) -> str:
        """Say how this node, as a standby, connects to PRIMARY."""
        return (
            f"host={primary.host} port={primary.port} user=replicator password={PASSWORD} application_name={self.name}"
        )

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        self.account.own(path)

    # --- its server

    def start(self) -> None:
        """Start the server and wait until it can be connected to at its address."""
        try:
            self._run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "60", "-s", "start")
        except RuntimeError as wrong:
            raise RuntimeError(f"{self.name} did not start: {self.log.read_text()[-2000:]}") from wrong
        # pg_ctl is content with a standby that does not accept connections yet.
        processes.wait_until(lambda: self.in_recovery() is not None, 60, f"{self.name} to accept connections")
        self.await_front()

    def await_front(self) -> None:
        """Wait until the front does what the server does, which takes it some milliseconds."""
        if self.port != self.server_port:
            processes.wait_until(lambda: self.world.ask("fronts")[self.name], 10, f"the front of {self.name}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server in an orderly way."""
        self._run("pg_ctl", "-D", self.data, "-m", mode, "-w", "-t", "60", "-s", "stop")

    def processes(self) -> list[int]:
        """List everything that runs on this host."""
        return [pid for pid in processes.belonging(self.folder) if processes.alive(pid)]

    def postmaster(self) -> int | None:
        """Return the process id of the running server."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split()[0])
        except (OSError, IndexError, ValueError):
            return None
        return pid if processes.alive(pid) else None

    def keep_segment(self) -> None:
        """Remember the server's shared memory segment, which a SIGKILL leaves behind."""
        pidfile = self.data / "postmaster.pid"
        if pidfile.exists():
            shutil.copy(pidfile, self.folder / f"postmaster.pid.{pidfile.stat().st_mtime_ns}")

    # --- its data

    def conninfo(self, dbname: str = "postgres", user: str = "postgres", **more: Any) -> str:
        """Say how to reach the server itself, around the fronts."""
        return psycopg.conninfo.make_conninfo(
            host=self.host,
            port=self.server_port,
            dbname=dbname,
            user=user,
            password=PASSWORD,
            connect_timeout=3,
            **more,
        )

    def psql(self, statement: str, dbname: str = "postgres", seconds: float = 10) -> list[tuple[Any, ...]]:
        """Run one statement as superuser and return its rows."""
        options = f"-c statement_timeout={int(seconds * 1000)}"
        with psycopg.connect(self.conninfo(dbname, options=options), autocommit=True) as session:
            done = session.execute(statement)  # type: ignore[call-overload]
            return done.fetchall() if done.description else []

    def in_recovery(self) -> bool | None:
        """Return True for a standby, False for a primary, None when it does not answer."""
        pid = self.postmaster()
        if pid is None or processes.state(pid) == "T":
            return None
        try:
            return bool(self.psql("SELECT pg_is_in_recovery()", seconds=1)[0][0])
        except psycopg.Error:
            return None

    def timeline(self) -> int:
        """Return the timeline the server writes or receives."""
        rows = self.psql(
            "SELECT CASE WHEN pg_is_in_recovery() THEN (SELECT received_tli FROM pg_stat_wal_receiver)"
            " ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END"
        )
        return int(rows[0][0] or 0)

    def _run(self, program: str, *arguments: object) -> None:
        path = self.bin / program
        argv = [str(path) if path.exists() else program, *map(str, arguments)]
        self.world.run(argv, self.folder, self.folder / "commands.log")
