"""The control plane on one machine: Prefect server, workers, responder, receiver, sentinel, archiver, kept running.

`python -m flows.triggers.plane up | down [--now] | status`, or in a program: `with Plane(root) as plane: ...`.
Everything listens on 127.0.0.1 and keeps its files below one folder (default `.salvor`).
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from blocks.errors import Misconfigured
from flows.triggers.plane.folder import PROJECT, keep_secret
from flows.triggers.plane.ports import pick
from flows.triggers.plane.supervisor import Supervised, Supervisor, began, descendants, end

PARTS = ("server", "registration", "worker", "responder", "receiver", "sentinel", "archiver")
SERVER_SECONDS = 120.0
DRAIN_SECONDS = 300.0


class Plane:
    """A control plane that lives as long as this object's `with` block, or until `down`."""

    def __init__(  # noqa: PLR0913 - each has a default, and is given by name
        self,
        root: Path | str = ".salvor",
        *,
        port: int = 0,
        receiver_port: int = 0,
        parts: Iterable[str] = PARTS,
        deployments: Iterable[Path] = (),
        env: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Choose its folder, its ports (0: any free one), its parts, and the files to deploy (default: ours)."""
        self.root = Path(root).resolve()
        self.parts = tuple(parts)
        self.deployments = [str(path) for path in deployments]
        self.say = say
        self.ready = False
        self.logs = self.root / "logs"
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.logs / "runs", self.root / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        self.port, self.receiver_port = pick(port), pick(receiver_port)
        self.auth, self.auth_is_new = keep_secret(self.root / "auth", f"admin:{secrets.token_urlsafe(24)}")
        self.env = {**os.environ, **self._settings(), **(env or {})}
        self._supervisor = Supervisor(self.env, PROJECT, self._write_down)
        self.processes = self._supervisor.processes

    @property
    def api_url(self) -> str:
        """Where Prefect's API is."""
        return f"{self.ui_url}/api"

    @property
    def ui_url(self) -> str:
        """Where people look."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def receiver_url(self) -> str:
        """Where alerts go."""
        return f"http://127.0.0.1:{self.receiver_port}"

    @property
    def receiver_token(self) -> str:
        """The bearer token of the receiver, as the registration made it."""
        return (self.root / "receiver-token").read_text().strip()

    def _settings(self) -> dict[str, str]:
        """Say in variables what every process of the plane, and every client of it, must know."""
        return {
            "SALVOR_ROOT": str(self.root),
            "SALVOR_RUN_LOGS": str(self.logs / "runs"),
            "PREFECT_HOME": str(self.root / "prefect"),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_API_AUTH_STRING": self.auth,
            "PREFECT_SERVER_API_AUTH_STRING": self.auth,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            # Prefect links to its older UI, which answers somebody not yet signed in with "Page not found".
            "PREFECT_UI_URL": f"{self.ui_url}/v2",
            "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "5",
            "PYTHONUNBUFFERED": "1",
            "DO_NOT_TRACK": "1",
        }

    def up(self) -> Self:
        """Start everything and return when it answers."""
        at = ("--host", "127.0.0.1", "--port", str(self.port))
        self._start("server", "flows.triggers.plane.prefect_server", "server", "start", *at)
        self._await("server", f"{self.api_url}/health")
        self._start("responder", "flows.triggers.responder", "--pool", "responder")
        # Prefect's process worker keeps a folder of its own where all users of the machine keep theirs.
        worker = ("prefect", "worker", "start", "--type", "process", "--pool", "salvor")
        self._start("worker", *worker, TMPDIR=str(self.root / "tmp"))
        if "registration" in self.parts:
            self.register()
        self._start("receiver", "flows.triggers.receiver", "--port", str(self.receiver_port))
        self._start("sentinel", "flows.triggers.sentinel")
        self._start("archiver", "flows.triggers.archiver")
        self._await("receiver", f"{self.receiver_url}/health")
        self.ready = True
        self._write_down()
        return self

    def down(self, *, now: bool = False) -> None:
        """End everything; a recovery that runs is waited for, unless it must be NOW."""
        left = descendants(self.processes["responder"].pid) if now and "responder" in self.processes else []
        orphans = {pid: began(pid) for pid in left}
        for pid, start in orphans.items():
            end(pid, start, 0)
        self._supervisor.stop()
        for pid, start in orphans.items():
            end(pid, start, 0)
        (self.root / "plane.json").unlink(missing_ok=True)

    def restart(self, name: str) -> None:
        """End one process and start it again, e.g. the responder after a change of the code."""
        self._supervisor.restart(name)
        if name == "server":
            self._await("server", f"{self.api_url}/health")

    def register(self) -> None:
        """Register blocks, pools, deployments and automations with the server."""
        self.say("Registering blocks, deployments and automations ...")
        with (self.logs / "registration.log").open("ab") as log:
            command = [sys.executable, "-m", "flows.triggers.plane.registration", str(self.root), *self.deployments]
            done = subprocess.run(  # noqa: S603
                command, env=self.env, cwd=PROJECT, stdout=log, stderr=log, check=False
            )
        if done.returncode:
            raise Misconfigured(f"The registration failed; {log.name} says why.")

    def _start(self, name: str, *module: str, **extra: str) -> None:
        if name in self.parts:
            command, patience = [sys.executable, "-m", *module], DRAIN_SECONDS if name == "responder" else 10.0
            self._supervisor.add(Supervised(name, command, self.logs / f"{name}.log", patience, extra))

    def _await(self, name: str, url: str) -> None:
        """Wait until NAME answers at URL."""
        if name not in self.parts:
            return
        self.say(f"Waiting for the {name} ...")
        deadline = time.monotonic() + SERVER_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(url, timeout=2).is_success:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise Misconfigured(f"The {name} does not answer at {url}; {self.processes[name].log} says why.")

    def _write_down(self) -> None:
        """Keep what `down` and `status` need to know when this process is gone."""
        facts = {
            "supervisor": [os.getpid(), began(os.getpid())],
            "ready": self.ready,
            "ui_url": self.ui_url,
            "receiver_url": self.receiver_url,
            "processes": {
                name: [process.pid, began(process.pid), process.restarts] for name, process in self.processes.items()
            },
        }
        temporary = self.root / "plane.json.new"
        temporary.write_text(json.dumps(facts))
        temporary.replace(self.root / "plane.json")

    def __enter__(self) -> Self:
        """Start it."""
        try:
            return self.up()
        except BaseException:
            self.down(now=True)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, and whatever it runs."""
        self.down(now=True)
