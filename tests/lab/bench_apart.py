"""One run of a procedure in a process of its own; see bench_run.py."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from flows.triggers.plane.folder import PROJECT
from flows.triggers.plane.plane import Plane


def run_apart(plane: Plane, procedure: str, target: str, policy: dict[str, Any]) -> dict[str, Any]:
    """Run PROCEDURE on TARGET to its end, and give what bench_run says of it."""
    command = [sys.executable, "-m", "tests.lab.bench_run", procedure, json.dumps(policy), target]
    done = subprocess.run(command, env=plane.env, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))
