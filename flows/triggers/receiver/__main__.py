"""`python -m flows.triggers.receiver`."""

from __future__ import annotations

from flows.triggers.receiver.command import main

if __name__ == "__main__":
    raise SystemExit(main())
