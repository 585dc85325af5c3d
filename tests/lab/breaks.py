"""What can befall the patient. Each does exactly one thing, and says in its docstring what stays whole."""

from __future__ import annotations

import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any, Literal

from tests.lab import processes
from tests.lab.proxy import Mode

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.node import LabNode
    from tests.lab.pooler import Pooler
    from tests.lab.wire import World

# Run by the server itself, so that it is never too late; once only.
DEATH = "sed -i /recovery_end_command/d postgresql.auto.conf; kill -9 $(head -n 1 postmaster.pid) $PPID"
Lag = Literal["delay", "pause", "stop"]
WAL_NAME_LENGTH = 24


class Breaks:
    """The breakers of a lab, and what mends them."""

    root: Path
    nodes: dict[str, LabNode]
    pooler: Pooler | None
    world: World
    proxies: bool

    # --- death

    def kill_postmaster(self, name: str) -> None:
        """SIGKILL the server's first process only; its children find out by themselves, some milliseconds later."""
        node = self.nodes[name]
        node.keep_segment()
        processes.send([pid for pid in [node.postmaster()] if pid], signal.SIGKILL)
        node.await_front()

    def kill_node(self, name: str, *, host: bool = True) -> None:
        """SIGKILL everything that runs on a node. HOST=False is a power loss: no shell answers, and no RST is sent."""
        node = self.nodes[name]
        node.keep_segment()
        if not host:
            self._host(name, off=True)
            if self.proxies:
                self.world.ask("cut", node=name, from_="all", mode="silent")
        processes.send([pid for pid in [node.postmaster()] if pid], signal.SIGKILL)
        processes.end_all(node.folder)
        node.await_front()

    def revive_host(self, name: str) -> None:
        """Give a node that lost its power its host back; the server is not started."""
        self._host(name, off=False)
        if self.proxies:
            self.world.ask("mend", node=name, from_="all")
            self.nodes[name].await_front()

    # --- a frozen machine

    def freeze(self, name: str) -> None:
        """Stop the whole machine: its processes hold still, its shell hangs, its connections stay open."""
        self._reason(name, "frozen", present=True)
        processes.signal_all(self.nodes[name].folder, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen machine go on where it was."""
        processes.send(processes.belonging(self.nodes[name].folder), signal.SIGCONT)
        self._reason(name, "frozen", present=False)

    # --- the network

    def cut(self, name: str, from_: str = "salvor", mode: Mode = "silent") -> None:
        """Cut a node off from "salvor" (its remote shell too), "standbys", "clients", one standby by name, or "all".

        "silent" is a black hole: connections stay open, and nothing passes. "refuse" resets them at once; from
        "all" it looks like a server that is not there.
        """
        if not self.proxies:
            raise RuntimeError("This lab has no fronts (proxies=False), so nothing can be cut.")
        self.world.ask("cut", node=name, from_=from_, mode=mode)
        self.nodes[name].await_front()
        if from_ in ("salvor", "all"):
            self._reason(name, "cut", present=mode == "silent")
            self._host(name, off=mode == "refuse")

    def mend(self, name: str, from_: str | None = None) -> None:
        """End one cut of a node, or all; what was silent goes on."""
        self.world.ask("mend", node=name, from_=from_)
        self.nodes[name].await_front()
        if from_ in ("salvor", "all", None):
            self._reason(name, "cut", present=False)
            self._host(name, off=False)

    def pooler_down(self) -> None:
        """SIGKILL PgBouncer."""
        self._pooler().kill()

    def pooler_up(self) -> None:
        """Start PgBouncer again with the routing it had."""
        self._pooler().start()

    # --- standbys that are not what they seem

    def lag(self, name: str, how: Lag = "pause") -> None:
        """Let a standby fall behind: "delay" and "pause" receive but do not apply; "stop" receives nothing."""
        match how:
            case "delay":
                self._alter(name, "recovery_min_apply_delay", "1h")
            case "pause":
                self.nodes[name].psql("SELECT pg_wal_replay_pause()")
            case "stop":
                self._alter(name, "primary_conninfo", "")

    def unlag(self, name: str, primary: str = "n1") -> None:
        """Let a standby catch up with PRIMARY again, whatever held it."""
        node = self.nodes[name]
        node.psql("ALTER SYSTEM RESET recovery_min_apply_delay")
        node.psql("SELECT pg_wal_replay_resume()")
        self._alter(name, "primary_conninfo", node.upstream(self.nodes[primary]))

    def diverge(self, name: str, *, rows: int = 50, new_timeline: bool = False) -> None:
        """Let a standby write rows of its own, then be a standby again: the mistake of a start without standby.signal.

        It seems to stream, and to be ahead, until the primary has written past it. NEW_TIMELINE: it was promoted
        for a moment instead, and left its old timeline.
        """
        node = self.nodes[name]
        if new_timeline:
            node.psql("SELECT pg_promote()")
        else:
            node.stop()
            (node.data / "standby.signal").unlink()
            node.start()
        node.psql(f"INSERT INTO orders SELECT 'diverged', g, 1 FROM generate_series(1, {rows}) g", "orders")
        node.stop()
        node.follow_signal()
        node.start()

    def doom(self, name: str) -> None:
        """Let a standby die at the end of its promotion, when the new timeline is written and nobody was told yet."""
        self._alter(name, "recovery_end_command", DEATH)

    # --- files

    def fill_disk(self, name: str, spare_mb: int = 4) -> str:
        """Leave a stopped node SPARE_MB of disk; return how ("tmpfs" or, where nothing may be mounted, "file size").

        The stand-in lets no file written by a script on the host grow beyond SPARE_MB; df does not show it.
        """
        node = self.nodes[name]
        whole = node.disk.rename(node.folder / "disk.whole")
        node.disk.mkdir()
        owner = f"mode=700,uid={node.account.uid},gid={node.account.gid}"
        mount = ["mount", "-t", "tmpfs", "-o", owner, "lab", str(node.disk)]
        if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
            node.disk.rmdir()
            whole.rename(node.disk)
            self._host(name, limit=str(spare_mb * 1024))
            return "file size"
        subprocess.run(["cp", "-a", f"{whole}/.", str(node.disk)], check=True)
        shutil.rmtree(whole)
        limit = shutil.disk_usage(node.disk).used + spare_mb * 2**20
        subprocess.run(["mount", "-o", f"remount,size={limit}", str(node.disk)], check=True)
        return "tmpfs"

    def free_disk(self, name: str) -> None:
        """Give the node its disk back, with what is on it."""
        node = self.nodes[name]
        self._host(name, limit="")
        if node.disk.is_mount():
            whole = node.folder / "disk.whole"
            subprocess.run(["cp", "-a", str(node.disk), str(whole)], check=True)
            subprocess.run(["umount", str(node.disk)], check=True)
            node.disk.rmdir()
            whole.rename(node.disk)

    def remove_wal(self, name: str) -> int:
        """Remove all WAL of a dead node, so that it can neither recover nor be rewound; return how many files."""
        gone = [file for file in (self.nodes[name].data / "pg_wal").iterdir() if len(file.name) == WAL_NAME_LENGTH]
        for file in gone:
            file.unlink()
        return len(gone)

    def destroy(self, name: str) -> None:
        """SIGKILL a node and remove its data directory."""
        self.kill_node(name)
        shutil.rmtree(self.nodes[name].data)

    def destroy_all(self, first: str) -> None:
        """SIGKILL every node, FIRST before the others, and remove all data directories; hosts and backups stay."""
        order = sorted(self.nodes, key=lambda name: name != first)
        for name in order:
            self.nodes[name].keep_segment()
        processes.send([pid for name in order if (pid := self.nodes[name].postmaster())], signal.SIGKILL)
        for name in order:
            self.kill_node(name)
        for name in order:
            shutil.rmtree(self.nodes[name].data, ignore_errors=True)

    # --- how

    def _alter(self, name: str, setting: str, value: str) -> None:
        self.nodes[name].psql(f"ALTER SYSTEM SET {setting} = '{value}'")
        self.nodes[name].psql("SELECT pg_reload_conf()")

    def _host(self, name: str, **state: Any) -> None:
        self.world.ask("host", node=name, state=state)

    def _reason(self, name: str, reason: str, *, present: bool) -> None:
        now = set(self.world.ask("host", node=name, state={}))
        self._host(name, reasons=sorted(now | {reason} if present else now - {reason}))

    def _pooler(self) -> Pooler:
        if self.pooler is None:
            raise RuntimeError("This lab has no PgBouncer.")
        return self.pooler
