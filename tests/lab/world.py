"""The one process of a lab that is not the product: its network, and the hosts its nodes live on.

It is the parent of everything that runs on the hosts and reaps it at once: a container's first process may do that
seconds later or never, and a zombie postmaster stops pg_rewind with "lock file postmaster.pid already exists".
When the process that wanted the lab is gone, the world ends the lab and removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab import processes, teardown
from tests.lab.account import CHECKOUT, unprivileged
from tests.lab.proxy import Front

PR_SET_CHILD_SUBREAPER = 36
TICK_SECONDS = 0.01
#: A lab without fronts, and whoever asks whether it is still wanted, need not look that often.
SLOW_TICK_SECONDS = 0.1
#: The name under which the agent door reaches no host but what switches the hosts off.
BOARD = "board"


class Streams(NamedTuple):
    """Where a process reads and writes."""

    input: Path
    out: Path
    err: Path


class Host:
    """The machine a node lives on, as its remote shell sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reasons: set[str] = set()  #: why it does not answer: "frozen", "cut"
        self.off = False
        self.changed = asyncio.Condition()
        self.limit = ""  #: a size no file may pass, as a stand-in for a full disk

    async def answers(self) -> bool:
        """Wait as long as the host is frozen or cut off; False when it is off."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.off or not self.reasons)
        return not self.off

    async def become(self, state: dict[str, Any]) -> None:
        """Take on another state and let those who wait see it."""
        async with self.changed:
            for key, value in state.items():
                setattr(self, key, set(value) if key == "reasons" else value)
            self.changed.notify_all()


class World:
    """State of one lab's network and hosts, and the two doors to it: control (JSON) and agent (a shell on a host)."""

    def __init__(self, root: Path, spec: dict[str, Any]) -> None:
        self.root, self.spec = root, spec
        self.account = unprivileged()
        self.hosts = {name: Host(root / name) for name in spec["hosts"]}
        self.fronts = {name: Front(front["port"], front["upstream"]) for name, front in spec["fronts"].items()}
        self.children: dict[int, tuple[subprocess.Popen[bytes], asyncio.Future[int]]] = {}
        self.jobs = 0

    # --- processes

    def spawn(self, argv: list[str], folder: Path, streams: Streams, *, drop: bool = True) -> int:
        """Start ARGV on the host of FOLDER; it belongs to the lab whatever it does."""
        environment = {**os.environ, processes.MARK: str(folder)}
        with streams.input.open("rb") as stdin, streams.out.open("ab") as stdout, streams.err.open("ab") as stderr:
            child = subprocess.Popen(
                argv,
                cwd=folder if drop else CHECKOUT,
                env=environment,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                **(self.account.dropping if drop else {}),
            )
        self.children[child.pid] = child, asyncio.get_running_loop().create_future()
        return child.pid

    def reap(self) -> None:
        """Bury the dead: our own children and whatever was orphaned below us."""
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if known := self.children.get(found[0]):
                    known[0].returncode = os.waitstatus_to_exitcode(found[1])
                    known[1].set_result(known[0].returncode)

    async def ended(self, pid: int) -> int:
        """Wait for a child of ours and return its exit code."""
        return await asyncio.shield(self.children[pid][1])

    # --- doors

    async def agent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run one script on one host, as a remote shell would."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            name = (await reader.readuntil(b"\0"))[:-1].decode()
            script = (await reader.readuntil(b"\0"))[:-1].decode()
            self.jobs += 1
            base = self.root / "jobs" / str(self.jobs)
            base.with_suffix(".in").write_bytes((await reader.readuntil(b"\0"))[:-1])
            if name == BOARD:
                code, words = self.power(script)
                base.with_suffix(".out").write_text(words)
            else:
                code = await self._run(self.hosts[name], script, base, reader)
            writer.write(f"{code} {base}\n".encode())
            await reader.read()
            for file in base.parent.glob(f"{base.name}.*"):
                file.unlink(missing_ok=True)
        writer.close()

    def power(self, order: str) -> tuple[int, str]:
        """Obey the management board: "off n1" cuts a host's power, "state n1" ends 0 when it is off."""
        verb, _, name = order.partition(" ")
        host = self.hosts[name]
        if verb == "off":
            host.off = True
            if name in self.fronts:
                self.fronts[name].cut("all", "silent")
            processes.signal_all(host.folder, signal.SIGKILL)
            return 0, f"{name} goes off\n"
        left = [pid for pid in processes.belonging(host.folder) if processes.alive(pid)]
        return (0, f"{name} is off\n") if host.off and not left else (1, f"{name} is on\n")

    async def _run(self, host: Host, script: str, base: Path, caller: asyncio.StreamReader) -> int:
        out, err, code = base.with_suffix(".out"), base.with_suffix(".err"), 255
        if await host.answers() and not caller.at_eof():
            limit = f"ulimit -f {host.limit}; trap '' XFSZ\n" if host.limit else ""
            argv = ["/bin/sh", "-c", limit + script]
            code = await self.ended(self.spawn(argv, host.folder, Streams(base.with_suffix(".in"), out, err)))
        if await host.answers():
            return code
        out.write_text("")
        err.write_text(f"{host.folder.name}: no route to host\n")
        return 255

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer JSON requests, one a line."""
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                try:
                    answer = {"ok": await self.perform(**json.loads(line))}
                except Exception as wrong:  # noqa: BLE001 - whatever it is, the lab must hear of it
                    answer = {"error": f"{type(wrong).__name__}: {wrong}"}
                writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()

    async def perform(self, op: str, **given: Any) -> Any:
        """Do what the lab asks."""
        match op:
            case "cut":
                self.fronts[given["node"]].cut(given["from_"], given["mode"])
            case "mend":
                self.fronts[given["node"]].mend(given["from_"])
            case "host":
                await self.hosts[given["node"]].become(given["state"])
                return sorted(self.hosts[given["node"]].reasons)
            case "spawn":
                log = Path(given["log"])
                streams = Streams(Path(os.devnull), log, log)
                return self.spawn(given["argv"], Path(given["folder"]), streams, drop=given["drop"])
            case "wait":
                return await self.ended(given["pid"])
            case "fronts":
                return {name: front.open == front.wanted for name, front in self.fronts.items()}
            case _:
                raise ValueError(f"nothing is called {op}")
        return None

    # --- life

    async def live(self) -> None:
        """Serve until the lab's owner is gone, or until told to stop."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGCHLD, self.reap)
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        doors = self.spec["doors"]
        await asyncio.start_server(self.control, "127.0.0.1", doors["control"])
        await asyncio.start_server(self.agent, "127.0.0.1", doors["agent"], limit=2**20)
        following = asyncio.create_task(self._follow())
        while not stop.is_set() and not following.done() and self._is_wanted():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), SLOW_TICK_SECONDS)
        if following.done():
            following.result()  # the fronts end only by an error, and a lab must not outlive them in silence
        following.cancel()

    def _is_wanted(self) -> bool:
        """Whether the lab's folder and its owner are still there."""
        owner = self.spec["owner"]
        return self.root.exists() and (not owner or processes.alive(owner))

    async def _follow(self) -> None:
        """Let every front do what its node does."""
        while True:
            for front in self.fronts.values():
                front.follow()
            await asyncio.sleep(TICK_SECONDS if self.fronts else SLOW_TICK_SECONDS)


def main() -> None:
    """Serve the lab in the folder given as argument."""
    root = Path(sys.argv[1])
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(World(root, json.loads((root / "world.json").read_text())).live())
    teardown.remove(root)


if __name__ == "__main__":
    main()
