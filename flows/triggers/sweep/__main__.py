"""`python -m flows.triggers.sweep`."""

from __future__ import annotations

import sys

from flows.triggers.sweep.command import main

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
