"""Flows that a responder runs in its own tests."""

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


@task(cache_policy=NO_CACHE, persist_result=False)
def look(path: str) -> float:
    """Do the first thing a procedure does."""
    note(path, f"looked {os.getpid()} {time.time()}")
    return time.time()


@flow(name="sample-quick", retries=0)
def quick(path: str) -> None:
    """Look, and end."""
    sys.stdout.write("a word on standard output\n")
    look(path)


def tell_cancelled(_flow: Any, run: Any, _state: Any) -> None:
    """Say that the hook ran."""
    note(run.parameters["path"], "cancelled")


def tell_crashed(_flow: Any, run: Any, _state: Any) -> None:
    """Say that the hook ran."""
    note(run.parameters["path"], "crashed")


@flow(name="sample-slow", retries=0, on_cancellation=[tell_cancelled], on_crashed=[tell_crashed])
def slow(path: str, seconds: float = 60) -> None:
    """Look, then take SECONDS."""
    look(path)
    time.sleep(seconds)
    note(path, "finished")


@flow(name="sample-dies", retries=0, on_crashed=[tell_crashed])
def dies(path: str) -> None:
    """End as a process that runs out of memory does."""
    look(path)
    os.kill(os.getpid(), signal.SIGKILL)
