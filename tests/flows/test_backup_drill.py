"""A drill restores what is kept, proves it, leaves nothing, and says when something cannot be trusted."""

from __future__ import annotations

import pytest

from blocks.backup_repository import BackupRepository, Scratch
from blocks.ledger import backups
from flows.backup_drill import backup_drill
from flows.backup_take import backup_take


def rehearsed(**policy):
    state = backup_drill("orders", policy, return_state=True)
    return state.name, state.result(raise_on_failure=False)


def failing(report) -> list[str]:
    return [each.claim for each in report.evidence if not each.holds]


def test_a_drill_proves_the_newest_set_and_leaves_nothing(orders, saved) -> None:
    """The rows of the newest set are those that were counted, its measured times are kept, and the folder is gone."""
    backup_take("orders", return_state=True)
    name, report = rehearsed()
    assert name == "Recovered", (report.why, failing(report))
    assert {"rto_writable_seconds", "rto_verified_seconds"} <= set(report.figures)
    assert not list((orders.vault / "scratch").iterdir())
    (kept,) = backups.history(saved, "orders")
    assert (kept.kind, kept.passed) == ("newest", True)
    assert {row[0] for row in orders.psql("n1", "SELECT timeline_id FROM pg_control_checkpoint()")} == {1}
    assert not list(orders.vault.glob("repository/wal/*/00000002*"))


@pytest.mark.long
def test_a_damaged_set_is_passed_over_and_one_that_is_all_there_is_fails_the_drill(orders) -> None:
    """A drill of WAL falls back to the set before a damaged one; without any whole set it fails, and cleans up."""
    for kind in ("full", "full"):
        backup_take("orders", {"kind": kind}, return_state=True)
    older, newest = sorted(each.name for each in (orders.vault / "repository/sets").iterdir())
    spoil(orders, newest)
    name, report = rehearsed(what="latest")
    assert name == "Recovered", (report.why, failing(report))
    assert any(newest in said for said in report.unverified)
    spoil(orders, older)
    name, report = rehearsed(what="latest")
    assert name == "Unverified"
    assert "scratch takes writes." in failing(report)
    assert not list((orders.vault / "scratch").iterdir())
    name, report = rehearsed(what="latest")
    assert name == "Refused"
    assert "No set" in report.why


@pytest.mark.long
def test_a_scratch_folder_without_room_is_refused(orders) -> None:
    """A drill that would fill the disk does not begin."""
    backup_take("orders", return_state=True)
    scratch = Scratch.load("orders")
    scratch.keep_free_bytes = 2**60
    scratch.save("orders", overwrite=True)
    name, report = rehearsed()
    assert (name, "MB are free" in report.why) == ("Refused", True), report.why
    assert BackupRepository.load("orders").directory == str(orders.vault / "repository")


def spoil(lab, name: str) -> None:
    """Flip one bit in the largest file of a set."""
    files = (lab.vault / "repository/sets" / name / "data/base").rglob("[0-9]*")
    largest = max((file for file in files if file.is_file()), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
