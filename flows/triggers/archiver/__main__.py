"""`python -m flows.triggers.archiver`."""

from __future__ import annotations

from flows.triggers.archiver.command import main

if __name__ == "__main__":
    raise SystemExit(main())
