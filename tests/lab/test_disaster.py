"""The break that only a backup heals."""

from __future__ import annotations

import shutil

import pytest

from tests.lab import disaster
from tests.lab.cluster import Lab


@pytest.mark.long
def test_a_disaster_leaves_the_backups_alone_and_needs_one() -> None:
    """Without a set nothing is broken; with one every process and directory of all nodes is gone, and the set stays."""
    with Lab(nodes=2, pooler=False, fast=True) as lab:
        with pytest.raises(LookupError, match="backup-take"):
            disaster.strike(lab)
        assert (lab.primaries(), lab.standbys()) == (["n1"], ["n2"])
        kept = lab.vault / "repository" / "sets" / "20260101T000000Z-full"
        kept.mkdir(parents=True)
        (kept / "set.json").touch()
        shutil.copytree(kept, kept.with_name(".20260102T000000Z-full.part"))
        said = disaster.strike(lab)
        assert not any(node.processes() or node.data.exists() for node in lab.nodes.values())
        assert (kept / "set.json").exists()
        assert "n1, the primary" in said[0]
        assert "1 set, the newest 20260101T000000Z-full" in said[-1]
