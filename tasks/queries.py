"""SQL lives in one file per subject; Python asks for it by name."""

from __future__ import annotations

import re
from pathlib import Path

NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def load(path: Path) -> dict[str, str]:
    """Return the queries of PATH by name, without their comments."""
    _, *parts = NAME.split(path.read_text())
    bodies = (
        "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip() for body in parts[1::2]
    )
    return dict(zip(parts[::2], bodies, strict=True))
