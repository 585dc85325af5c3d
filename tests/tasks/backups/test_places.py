"""What is seen of a real place, and of a real repository, is what the decision refuses by."""

from __future__ import annotations

import pytest

from tasks.backups.decide_drill import decide_drill
from tasks.backups.decide_restore import decide_restore
from tasks.backups.looking import place_of
from tasks.backups.policies import DrillPolicy, RestorePolicy
from tests.repositories import F2
from tests.tasks.backups.worlds import gone, view

pytestmark = pytest.mark.long
PROGRAM = """#!/bin/sh
echo "postgres (PostgreSQL) 17.6"
"""


def seen(copy, name: str, **changes: str):
    """See a place of a repository's cluster whose server does not answer."""
    at, folder = copy.reach, copy.path.with_name("bin")
    folder.mkdir(exist_ok=True)
    (folder / "postgres").write_text(PROGRAM)
    (folder / "postgres").chmod(0o755)
    at.scratch.bin_directory = str(folder) if changes.get("bin") else at.scratch.bin_directory
    return place_of(at, name, None)


def test_binaries_of_another_major_version_are_refused(past, copy):
    """The program itself is asked, not the block; with the right one the same set is restored there."""
    there = view(gone("n1", system_identifier=""), kept=copy.native.look())
    policy = DrillPolicy(target="set", to=F2)
    assert decide_drill(there, policy, seen(copy, "scratch")).verdict == "go"
    decision = decide_drill(there, policy, seen(copy, "scratch", bin="another"))
    major = copy.set(F2).major
    assert f"The set {F2} is of PostgreSQL {major} and scratch has 17: files are restored by the same" in decision.why


def test_a_repository_of_another_cluster_is_refused(past, copy):
    """The repository says who it is in a file, a node in its control file, also when its server does not answer."""
    node = seen(copy, "n1")
    kept = copy.native.look()
    assert (node.answers, node.system_identifier, kept.system_identifier) == (False, past.system, past.system)
    (copy.path / "system").unlink()
    (copy.path / "system").write_text("4711\n")
    decision = decide_restore(view(node, kept=copy.native.look()), RestorePolicy())
    assert f"of another cluster (4711, this is {past.system})" in decision.why
