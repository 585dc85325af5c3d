"""A run of a consistency procedure in a process of its own, which a drill can kill."""

from __future__ import annotations

import importlib
import json
import sys


def main() -> int:
    """Run PROCEDURE with the POLICY on `broken`, and print how it ended."""
    procedure, policy = sys.argv[1], json.loads(sys.argv[2])
    name = procedure.replace("-", "_")
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    state = flow("broken", policy, requested_by="drill", return_state=True)
    sys.stdout.write(json.dumps([state.name, state.message]) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
