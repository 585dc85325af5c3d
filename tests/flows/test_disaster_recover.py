"""The service comes back by the cheapest way, started or restored from what is left; nothing that was kept is lost."""

from __future__ import annotations

import shutil

import pytest
from pydantic import SecretStr

from blocks.backup_listing import sealed
from blocks.backup_records import BackupSet
from blocks.backup_repository import BackupRepository
from blocks.restic_place import ResticPlace
from flows.backup_take import backup_take
from flows.disaster_recover import disaster_recover
from tests.flows.test_backup_restore import add, add_and_locate, clients, lose_wal
from tests.lab.records import record

RESOURCE = "recovery.postgres.orders"


def recovered(**policy):
    state = disaster_recover("orders", policy, requested_by="a person", return_state=True)
    return state.name, state.result(raise_on_failure=False)


@pytest.mark.long
def test_nothing_is_done_while_somebody_takes_writes(orders) -> None:
    """A healthy cluster is no disaster."""
    name, report = recovered()
    assert (name, "takes writes" in report.why) == ("NothingToDo", True)


@pytest.mark.long
def test_a_primary_that_is_only_down_is_started(orders) -> None:
    """Its own files are the best backup there is: nothing is restored, and nothing lost."""
    add(orders, "kept")
    record(orders_ledger(), RESOURCE, orders)
    for node in orders.nodes:
        orders.kill_node(node)
    name, report = recovered()
    assert (name, report.plan.way) == ("Recovered", "start"), report.why
    assert clients(orders) == {"kept": 100}


def test_a_lost_cluster_is_restored_with_the_wal_that_only_the_damaged_directory_had(orders) -> None:
    """Files of the primary are spoilt and the standbys gone; its last WAL is copied out, and no row is lost."""
    backup_take("orders", return_state=True)
    add(orders, "archived")
    end_receiver(orders)
    add(orders, "only in the damaged directory")
    record(orders_ledger(), RESOURCE, orders)
    for node in ("n2", "n3"):
        orders.destroy(node)
    orders.kill_node("n1")
    (orders.nodes["n1"].data / "global/pg_control").unlink()
    name, report = recovered(way="restore")
    assert name == "Recovered", report.why
    assert clients(orders) == {"archived": 100, "only in the damaged directory": 100}
    assert report.figures["rpo_seconds"] == 0


@pytest.mark.long
def test_a_lost_repository_is_brought_back_from_its_copy_first(orders) -> None:
    """Servers and repository are gone; the copy offsite has the set and its WAL; with accept_hole nobody is asked."""
    block = BackupRepository.load("orders")
    place = orders.vault / "offsite"
    block.restic = ResticPlace(repository=str(place), password=SecretStr("lab-only"), offsite=True)
    block.save("orders", overwrite=True)
    add(orders, "copied")
    backup_take("orders", return_state=True)
    for node in orders.nodes:
        orders.destroy(node)
    shutil.rmtree(orders.vault / "repository")
    name, report = recovered(accept_hole=True)
    assert (name, report.plan.offsite) == ("Recovered", True), report.why
    assert clients(orders) == {"copied": 100}


@pytest.mark.long
def test_a_recovery_that_failed_is_not_taken_for_a_server_that_is_only_down(orders) -> None:
    """Its copy had no old directory to give the place back to; it leaves the place, and the next run restores again."""
    backup_take("orders", return_state=True)
    position = add_and_locate(orders)
    record(orders_ledger(), RESOURCE, orders)
    for node in orders.nodes:
        orders.destroy(node)
    lose_wal(orders)
    name, report = recovered(target="lsn", to=position)
    assert (name, "recovery ended before" in report.why) == ("Refused", True), report.why
    assert not orders.nodes["n1"].data.exists()
    (orders.vault / "lost.wal").unlink()
    name, report = recovered()
    assert (name, report.plan.way) == ("Recovered", "restore"), report.why
    assert clients(orders) == {"after": 100, "before": 100}


@pytest.mark.long
def test_the_repository_of_another_cluster_is_not_restored(orders) -> None:
    """No node is left that says who it is, and the block was given the wrong directory: seen twice, refused twice."""
    backup_take("orders", return_state=True)
    for node in orders.nodes:
        orders.destroy(node)
    repository = orders.vault / "repository"
    (repository / "system").write_text("4711\n")
    for file in repository.glob("sets/*/set.json"):
        made = BackupSet.model_validate_json(file.read_text())
        another = made.model_copy(update={"system_identifier": "4711"})
        file.write_text(sealed(another.model_dump_json(exclude={"facts", "bad", "verified_at", "in_use"})) + "\n")
    for _ in range(2):
        name, report = recovered()
        assert (name, "the backups of another cluster (4711, this is" in report.why) == ("Refused", True), report.why
    assert report.timeline == ()


@pytest.mark.long
def test_no_way_back_says_what_was_tried(orders) -> None:
    """Without a repository, a standby and a directory the report says of each way why it does not go."""
    for node in orders.nodes:
        orders.destroy(node)
    name, report = recovered()
    assert name == "Refused"
    assert all(way in report.why for way in ("start:", "failover:", "restore:"))


def orders_ledger():
    from tasks.guard import ledger  # noqa: PLC0415

    return ledger()


def end_receiver(lab) -> None:
    """End the process that streams WAL, as a host that dies would."""
    lab.psql(
        "n1", "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'salvor_archive'"
    )
