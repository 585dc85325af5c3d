"""Flows that a responder runs in its own tests; each notes in a file what it did."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE


def note(path: str, line: str) -> None:
    """Append a line that the test reads."""
    with Path(path).open("a") as file:
        file.write(f"{line}\n")


def tell_cancelled(flow: Any, flow_run: Any, state: Any) -> None:
    """Say that the hook ran."""
    note(flow_run.parameters["path"], "cancelled")


def tell_crashed(flow: Any, flow_run: Any, state: Any) -> None:
    """Say that the hook ran."""
    note(flow_run.parameters["path"], "crashed")


@task(cache_policy=NO_CACHE, persist_result=False)
def look(path: str) -> float:
    """Do the first thing a procedure does."""
    note(path, f"looked {os.getpid()}")
    return time.time()


@flow(name="sample-quick", retries=0)
def quick(path: str) -> None:
    """Look, and end."""
    sys.stdout.write("a word on standard output\n")
    look(path)
    note(path, f"colour {os.environ.get('COLOUR')}")


@flow(name="sample-slow", retries=0, on_cancellation=[tell_cancelled], on_crashed=[tell_crashed])
def slow(path: str, seconds: float = 60) -> None:
    """Look, then take SECONDS."""
    look(path)
    time.sleep(seconds)
    note(path, "finished")


@flow(name="sample-deaf", retries=0)
def deaf(path: str) -> None:
    """Look, then go on whatever one is told."""
    look(path)
    while True:
        try:
            time.sleep(60)
        except BaseException as told:  # noqa: BLE001 - that is the point
            note(path, f"ignored {type(told).__name__}")


@flow(name="sample-dies", retries=0, on_crashed=[tell_crashed])
def dies(path: str) -> None:
    """End as a process does when memory runs out."""
    look(path)
    os.kill(os.getpid(), signal.SIGKILL)
