"""The demo as a stranger runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.account import CHECKOUT
from tests.lab.pointer import HOME
from tests.lab.processes import wait_until

COMMAND = [sys.executable, "-m", "tests.lab.demo"]
DISASTER = [sys.executable, "-m", "tests.lab.demo_disaster"]


def left() -> set[str]:
    """Name what demos have in the checkout's folder, and the processes that were started for one."""
    files = {path.name for path in HOME.glob("demo-of-*")} | {path.name for path in HOME.glob("lab-*")}
    return files | {pid.name for pid in Path("/proc").glob("[0-9]*") if f"{HOME}/demo-of-".encode() in environment(pid)}


def environment(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:
        return b""


@pytest.mark.long
@pytest.mark.drill
def test_the_demo_recovers_and_leaves_nothing() -> None:
    """Without a terminal the demo ends by itself: recovered, no row lost or doubled, and nothing left behind."""
    before = left()
    done = subprocess.run(COMMAND, cwd=CHECKOUT, capture_output=True, text=True, timeout=240, check=False)
    account = json.loads(done.stdout.splitlines()[-1])
    assert (account["outcome"], done.returncode) == ("Recovered", 0), done.stdout + done.stderr
    assert (account["lost_rows"], account["duplicated_rows"]) == (0, 0)
    assert account["acknowledged_rows"] > 100
    assert 0 < account["detection_seconds"] < account["rto_seconds"]
    assert account["event_to_first_task_seconds"] > 0
    assert account["run_url"].startswith("http://127.0.0.1:")
    assert left() <= before


@pytest.mark.drill
@pytest.mark.long
def test_the_demo_of_a_disaster_loses_nothing_and_leaves_nothing() -> None:
    """All servers and their data are lost; the service comes back and has a backup again, and no row is lost."""
    before = left()
    done = subprocess.run(DISASTER, cwd=CHECKOUT, capture_output=True, text=True, timeout=280, check=False)
    account = json.loads(done.stdout.splitlines()[-1])
    assert (account["outcome"], done.returncode) == ("Recovered", 0), done.stdout + done.stderr
    assert (account["lost_rows"], account["duplicated_rows"], account["rpo_seconds"]) == (0, 0, 0)
    assert account["acknowledged_rows"] > 100
    assert 0 < account["rto_writable_seconds"] < account["rto_protected_seconds"]
    assert 0 < account["rto_verified_seconds"] < account["rto_protected_seconds"]
    assert account["run_url"].startswith("http://127.0.0.1:")
    assert left() <= before


@pytest.mark.drill
@pytest.mark.long
def test_a_demo_that_is_stopped_leaves_nothing() -> None:
    """Told to stop while it sets up, the demo ends and removes whatever it has begun."""
    before = left()
    with subprocess.Popen(COMMAND, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as demo:
        wait_until(lambda: any(name.startswith("lab-") for name in left() - before), 30, "the demo's lab", 0.1)
        demo.send_signal(signal.SIGTERM)
        said, _ = demo.communicate(timeout=60)
    assert said.endswith("Stopped, and torn down.\n")
    assert demo.returncode == 130
    assert left() - before == set()
