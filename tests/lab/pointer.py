"""Where the lab of this checkout is while one is up, so that another terminal can find it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import processes, teardown
from tests.lab.account import CHECKOUT

#: The checkout's ignored folder.
HOME = CHECKOUT / ".salvor"
POINTER = HOME / "lab"


@contextmanager
def pointing(root: Path) -> Iterator[None]:
    """Say that the lab is in ROOT, unless another one is up."""
    if running() is None:
        HOME.mkdir(exist_ok=True)
        POINTER.write_text(str(root))
    try:
        yield
    finally:
        if POINTER.exists() and POINTER.read_text() == str(root):
            POINTER.unlink()


def running() -> Path | None:
    """Return where the lab is that runs; what is left of a dead one is removed."""
    root = Path(POINTER.read_text()) if POINTER.exists() else None
    if root is None or not (root / "lab.json").exists():
        return None
    if any(processes.alive(pid) for pid in processes.belonging(root)):
        return root
    teardown.remove(root)
    return None
