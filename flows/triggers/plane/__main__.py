"""`python -m flows.triggers.plane`."""

from __future__ import annotations

from flows.triggers.plane.command import main

if __name__ == "__main__":
    raise SystemExit(main())
