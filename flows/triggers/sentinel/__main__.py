"""`python -m flows.triggers.sentinel`."""

from __future__ import annotations

from flows.triggers.sentinel.command import main

if __name__ == "__main__":
    raise SystemExit(main())
