"""One run of a procedure in a process of its own: the real flow, on a real Prefect server, with a real ledger.

Prints one JSON object: how it ended, from when to when it ran, how much of a processor it took,
and the most memory that the process ever had.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
from pathlib import Path


def main() -> int:
    """Run PROCEDURE with the POLICY on TARGET."""
    procedure, policy, target = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
    name = procedure.replace("-", "_")
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    gc.collect()
    gc.freeze()  # as in the responder's children
    before, begun, cpu = peak_mb(), time.time(), time.process_time()
    state = flow(target, policy, requested_by="bench", return_state=True)
    ended, cpu = time.time(), time.process_time() - cpu
    said = {"outcome": state.name, "why": state.message, "begun": begun, "ended": ended, "cpu_seconds": cpu}
    print("\n" + json.dumps(said | {"peak_mb": peak_mb(), "imports_mb": before}))
    return 0


def peak_mb() -> float:
    """Read the most memory that this process has had, shared pages counted."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmHWM:")) / 1024


if __name__ == "__main__":
    raise SystemExit(main())
