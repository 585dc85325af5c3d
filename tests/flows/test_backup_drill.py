"""A drill restores what is kept, proves it, leaves nothing, and says when something cannot be trusted."""

from __future__ import annotations

import pytest

from blocks.backup_repository import BackupRepository, Scratch
from blocks.ledger import backups
from blocks.service import Service
from flows.backup_drill import backup_drill
from flows.backup_take import backup_take

COUNTED = "Rows and invariants are those that were counted when the set was taken."


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


@pytest.mark.long
def test_a_logical_copy_is_loaded_and_compared_and_a_damaged_one_fails(orders) -> None:
    """Rows, invariants and indexes come back by SQL alone, and nothing is left; one byte that is another is found."""
    block = BackupRepository.load("orders")
    block.dumps = True
    block.save("orders", overwrite=True)
    orders.psql("n1", "CREATE ROLE teller LOGIN PASSWORD 'never-in-a-backup'")
    orders.psql("n1", "INSERT INTO orders SELECT 'kept', g, 1 FROM generate_series(1, 100) g", "orders")
    orders.psql("n1", "GRANT SELECT ON orders TO teller", "orders")
    state = backup_take("orders", return_state=True)
    assert state.name == "Recovered", state.message
    (folder,) = orders.vault.glob("repository/sets/*/dumps")
    assert "never-in-a-backup" not in (folder / "roles.sql").read_text()
    name, report = rehearsed(what="dump")
    assert name == "Recovered", (report.why, failing(report))
    assert "numbers were compared" in {each.claim: each.seen for each in report.evidence}[COUNTED]
    assert not list((orders.vault / "scratch").iterdir())
    (file,) = folder.glob("*.dump")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    name, report = rehearsed(what="dump")
    assert (name, failing(report)) == ("Unverified", ["scratch takes writes."]), report.why
    assert not list((orders.vault / "scratch").iterdir())


@pytest.mark.long
def test_services_are_tried_against_the_copy_and_stopped_again(orders) -> None:
    """Each finds the copy, the second only when the first works; one that does not work fails the drill."""
    backup_take("orders", return_state=True)
    scratch, node = Scratch.load("orders"), orders.nodes["n1"]
    note = orders.vault / "note"
    shop = Service(
        name="shop", start=f"echo $PGPORT >>{note}", stop=f"echo stopped >>{note}",
        healthy=f"grep -q $PGPORT {note} && {node.bin}/pg_isready -q -h $PGHOST -p $PGPORT", healthy_seconds=5,
    )  # fmt: skip
    worker = shop.model_copy(update={"name": "worker", "start": "true", "healthy": "exit 3", "healthy_seconds": 1})
    scratch.services = [shop]
    scratch.save("orders", overwrite=True)
    name, report = rehearsed(services=True)
    assert name == "Recovered", (report.why, failing(report))
    assert "shop works." in {each.claim for each in report.evidence}
    assert note.read_text().split() == ["stopped", str(scratch.port), "stopped"]
    note.unlink()
    scratch.services = [worker, shop]
    scratch.save("orders", overwrite=True)
    name, report = rehearsed(services=True)
    assert (name, failing(report)) == ("Unverified", ["worker works.", "shop works."]), report.why
    assert not list((orders.vault / "scratch").iterdir())


def spoil(lab, name: str) -> None:
    """Flip one bit in the largest file of a set."""
    files = (lab.vault / "repository/sets" / name / "data/base").rglob("[0-9]*")
    largest = max((file for file in files if file.is_file()), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
