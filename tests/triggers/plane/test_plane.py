"""The control plane as `make up` starts it: one command up, one command down, and nothing left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from blocks.errors import Misconfigured
from flows.triggers.plane.folder import PROJECT, keep_secret
from flows.triggers.plane.plane import Plane
from flows.triggers.plane.ports import pick
from flows.triggers.plane.supervisor import Supervised, Supervisor, began, descendants, end
from tests.triggers.runs import until


class Command:
    """`python -m flows.triggers.plane` for one folder and one pair of ports."""

    def __init__(self, root: Path) -> None:
        """Choose ports that are free now."""
        self.root = root
        self.ports = ["--port", str(pick(0)), "--receiver-port", str(pick(0))]

    def __call__(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "flows.triggers.plane", command, "--root", str(self.root), *self.ports, *more]
        return subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=240)

    def facts(self) -> dict[str, object]:
        return json.loads((self.root / "plane.json").read_text())

    def pids(self) -> dict[str, int]:
        return {name: pid for name, (pid, _, _) in self.facts()["processes"].items()}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    """A control plane with everything, started by the command."""
    root = Path(tempfile.mkdtemp(prefix="plane-"))
    command = Command(root)
    up = command("up")
    assert up.returncode == 0, up.stdout + up.stderr + (root / "logs" / "plane.log").read_text()
    (root / "said").write_text(up.stdout)
    yield command
    command("down", "--now")
    shutil.rmtree(root)


def test_it_says_where_it_is_and_how_to_sign_in(command: Command) -> None:
    """The secret is said once, kept for its owner only, and the server asks for it."""
    said, auth = (command.root / "said").read_text(), (command.root / "auth").read_text().strip()
    assert auth in said
    assert (command.root / "auth").stat().st_mode & 0o777 == 0o600
    api = f"{command.facts()['ui_url']}/api"
    assert httpx.post(f"{api}/deployments/filter", json={}).status_code == 401
    user, _, password = auth.partition(":")
    assert httpx.post(f"{api}/deployments/filter", json={}, auth=(user, password)).is_success


def test_up_again_changes_nothing(command: Command) -> None:
    """A second `up` says that it is up, and where; the processes stay the same."""
    before = command.pids()
    again = command("up")
    assert again.returncode == 0
    assert f"It is up already: {command.facts()['ui_url']}" in again.stdout
    assert command.pids() == before


def test_everything_runs(command: Command) -> None:
    """Six processes, the receiver answers, and nothing was restarted."""
    status = command("status")
    assert status.returncode == 0
    assert [line.split()[0] for line in status.stdout.splitlines()[1:]] == [
        "server", "responder", "worker", "receiver", "sentinel", "archiver",
    ]  # fmt: skip
    assert "not running" not in status.stdout
    assert "restarted" not in status.stdout
    assert httpx.get(f"{command.facts()['receiver_url']}/health").is_success


def test_everything_listens_on_this_machine_only(command: Command) -> None:
    """No port is open to the network."""
    inodes = set()
    for pid in command.pids().values():
        for one in (pid, *descendants(pid)):
            links = [str(fd.readlink()) for fd in Path(f"/proc/{one}/fd").iterdir() if fd.exists()]
            inodes |= {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = [fields[1] for fields in listening if fields[3] == "0A" and fields[9] in inodes]
    assert len(ours) >= 2
    assert {address.partition(":")[0] for address in ours} == {"0100007F"}


def test_what_dies_is_started_again(command: Command) -> None:
    """A receiver that is killed is back, under another pid."""
    before = command.pids()["receiver"]
    os.kill(before, signal.SIGKILL)
    until(lambda: command.pids()["receiver"] not in {0, before}, "the receiver")
    until(lambda: httpx_ok(f"{command.facts()['receiver_url']}/health"), "its answer")


def httpx_ok(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


def test_down_leaves_nothing(command: Command) -> None:
    """No process, no port, no pid file; and down again says so."""
    pids = [pid for name in command.pids().values() for pid in (name, *descendants(name))]
    down = command("down")
    assert down.returncode == 0
    assert not [pid for pid in pids if began(pid)]
    assert not (command.root / "plane.json").exists()
    for port in (command.ports[1], command.ports[3]):
        assert pick(int(port)) == int(port)
    assert command("down").stdout == "It is down.\n"
    assert command("status").returncode == 1


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """Somebody else has the port: a sentence, and nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"Port {port} of 127.0.0.1 cannot be used"):
            Plane(tmp_path, port=port)


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """What is kept stays, and only its owner reads it."""
    assert keep_secret(tmp_path / "auth", "first") == ("first", True)
    assert keep_secret(tmp_path / "auth", "second") == ("first", False)
    assert (tmp_path / "auth").stat().st_mode & 0o777 == 0o600


def test_a_crash_loop_slows_down(tmp_path: Path) -> None:
    """A process that dies at once is started again, each time after twice as long."""
    supervisor = Supervisor(os.environ, tmp_path)
    process = Supervised("dies", ["false"], tmp_path / "log")
    supervisor.add(process)
    began_at = time.monotonic()
    until(lambda: process.restarts >= 2, "two restarts")
    assert time.monotonic() - began_at >= 0.5 + 1
    supervisor.stop()


def test_another_process_with_the_pid_is_left_alone() -> None:
    """A pid that was written down long ago may belong to somebody else by now."""
    with subprocess.Popen(["sleep", "60"]) as other:
        end(other.pid, "another start", 0)
        assert other.poll() is None
        other.kill()
