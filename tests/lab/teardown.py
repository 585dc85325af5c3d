"""How a lab ends, also one whose owner died: no process, no port, no segment, no mount and no file stays."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.lab import processes


def remove(root: Path, spare: frozenset[int] = frozenset()) -> None:
    """End everything of the lab in ROOT and remove it; doing it again does nothing."""
    processes.end_all(root, spare=spare)
    if not root.exists():
        return
    processes.remove_shared_memory(root)
    for mount in _mounts(root):
        subprocess.run(["umount", "--lazy", mount], check=False)
    for _ in range(5):
        shutil.rmtree(root, ignore_errors=True)
        if not root.exists():
            return


def _mounts(root: Path) -> list[str]:
    rows = Path("/proc/self/mounts").read_text().splitlines()
    return [row.split()[1] for row in rows if row.split()[1].startswith(f"{root}{os.sep}")]
