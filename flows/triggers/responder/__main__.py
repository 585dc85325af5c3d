"""`python -m flows.triggers.responder`."""

from __future__ import annotations

from flows.triggers.responder.command import main

if __name__ == "__main__":
    main()
