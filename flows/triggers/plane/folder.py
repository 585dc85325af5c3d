"""Where the control plane keeps its files and its secrets."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]


def keep_secret(path: Path, fresh: str) -> tuple[str, bool]:
    """Return the secret kept at PATH, or keep FRESH there; whether it is new comes with it. Only its owner reads it."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip(), False
    with os.fdopen(fd, "w") as file:
        file.write(f"{fresh}\n")
    return fresh, True
