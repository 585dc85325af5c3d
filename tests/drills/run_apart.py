"""A run of a procedure in a process of its own, which a drill can kill."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

from prefect.settings import PREFECT_API_URL, PREFECT_HOME


def start(procedure: str, target: str, **policy: object) -> subprocess.Popen[str]:
    """Start a run of PROCEDURE on TARGET."""
    env = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PREFECT_HOME": str(PREFECT_HOME.value())}
    command = [sys.executable, "-m", "tests.drills.run_apart", procedure, target, json.dumps(policy)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait until it has ended, and give outcome and sentence."""
    out, _ = process.communicate(timeout=90)
    name, message = json.loads(out.strip().splitlines()[-1])
    return name, message


def main() -> int:
    """Run it here, and print how it ended."""
    procedure, target, policy = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    name = procedure.replace("-", "_")
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    state = flow(target, policy, requested_by="drill", return_state=True)
    sys.stdout.write(json.dumps([state.name, state.message]) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
