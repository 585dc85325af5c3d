"""Which procedures exist: every file directly in flows/ is one."""

from __future__ import annotations

from pathlib import Path

NOT_PROCEDURES = frozenset({"__init__", "procedure"})


def procedures() -> tuple[str, ...]:
    """List the names of all procedures, as they are called in Prefect."""
    files = Path(__file__).resolve().parent.parent.glob("*.py")
    return tuple(sorted(f.stem.replace("_", "-") for f in files if f.stem not in NOT_PROCEDURES))


def unknown(procedure: str, known: tuple[str, ...]) -> str:
    """Say that PROCEDURE is none of the KNOWN and which those are; empty when it is one."""
    if procedure in known:
        return ""
    return f"there is no procedure {procedure!r}; there are: {', '.join(known) or 'none'}"
