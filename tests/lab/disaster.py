"""The loss of everything but the backups, and what heals it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.cluster import Lab

WHAT_NOW = """\
What heals it (UI: Deployments, the procedure, Run, Custom run, target `orders`):
  1. disaster-recover    says what is dead and what it would do; with approval `person` it waits for your Resume.
  2. postgres-rejoin     with `node` n2, and again with n3: the standbys are made anew.
  3. backup-drill        at any time: proves that what was kept now can be restored."""
NO_SET = (
    "There is no backup of this lab yet, so nothing could bring it back, and nothing was broken: run backup-take with "
    "target `orders` first."
)


def strike(lab: Lab) -> list[str]:
    """Destroy every node of the lab, and say what is gone and what is left."""
    sets = kept_sets(lab)
    if not sets:
        raise LookupError(NO_SET)
    primary = next(iter(lab.primaries()), next(iter(lab.nodes)))
    lab.destroy_all(primary)
    others = " and ".join(name for name in lab.nodes if name != primary)
    left = f"{len(sets)} {'sets' if len(sets) > 1 else 'set'}, the newest {sets[-1]}, and WAL"
    return [
        f"Every process of {primary}, the primary, was killed, and its data directory is removed.",
        *([f"So it is for its standbys, {others}: no node has any data left."] if others else []),
        f"What is left are the backups in {lab.vault / 'repository'}: {left}.",
    ]


def kept_sets(lab: Lab) -> list[str]:
    """Name the sets that the lab's repository holds."""
    return sorted(record.parent.name for record in lab.vault.glob("repository/sets/[0-9]*/set.json"))
