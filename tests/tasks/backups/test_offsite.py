"""A repository that is lost comes back from its copy, and copies go when their time is over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from blocks.backup_records import BackupSet, Snapshot
from blocks.backup_repository import BackupRepository
from blocks.errors import Misconfigured
from blocks.restic import Restic
from blocks.restic_place import ResticPlace
from tasks.backups.offsite import bring_back, copy_offsite, forget
from tasks.backups.reach import Reach
from tasks.backups.retention import outlived
from tasks.backups.state import TakePlan
from tests.blocks.servers import Server, bin_directory, run, scratch, server
from tests.stores import HERE, PASSWORD, flip_a_bit, needs_restic, write

pytestmark = [needs_restic, pytest.mark.long]
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
WAL = "wal/20261129T120000Z/000000010000000000000001"


@dataclass
class Vault:
    """A repository with real sets, and the place of its copy."""

    root: Path
    db: Server

    @property
    def at(self) -> Reach:
        block = BackupRepository(
            directory=str(self.root / "repository"),
            bin_directory=str(bin_directory()),
            control=HERE,
            restic=ResticPlace(repository=str(self.root / "place"), password=SecretStr(PASSWORD), offsite=True),
        )
        return Reach(target="orders", cluster=self.db.cluster, block=block)

    @property
    def restic(self) -> Restic:
        it = self.at.restic
        assert it
        return it

    def taken(self, name: str, parent: str = "") -> BackupSet:
        """Take a set, prove it, and copy it offsite."""
        repository = self.at.repository
        source = self.db.cluster.replication_conninfo("n1", "salvor_backup")
        (identifier,) = self.db.sql("SELECT system_identifier::text FROM pg_control_system()")[0]
        found = repository.take(name, source, identifier, 60, parent=parent)
        facts = found.model_dump() | {"id": name, "kind": "incremental" if parent else "full", "parent": parent}
        made = BackupSet.model_validate(facts | {"began_at": NOON, "ended_at": NOON, "restored_bytes": found.bytes})
        repository.commit(made)
        assert repository.verify(made) == ""
        assert copy_offsite(self.at, made, 60) == "a copy is offsite"
        return made


@pytest.fixture(scope="module")
def vault() -> Iterator[Vault]:
    """Give a repository with a full set and one that builds on it, both offsite."""
    with scratch() as root, server(root, started=False) as db:
        with (db.data / "postgresql.conf").open("a") as settings:
            settings.write("summarize_wal = on\n")
        db.node.start()
        it = Vault(root, db)
        it.restic.open(make=True)
        it.taken("s1")
        write(root / "repository" / WAL, "some WAL")
        it.taken("s2", parent="s1")
        yield it


def test_a_lost_repository_comes_back_with_the_newest_set_all_it_builds_on_and_its_wal(vault: Vault) -> None:
    """Every file of it passes again, as the manifest wants it; bringing it back twice changes nothing."""
    held = vault.at.repository.look()
    assert all(len(each.offsite) >= 8 for each in held.sets)
    run("mv", vault.root / "repository", vault.root / "lost")
    said = bring_back(vault.at)
    assert said == f"s2 is back in {vault.root}/repository; verified"
    back = vault.at.repository.look()
    assert [(each.id, each.good) for each in back.sets] == [("s1", True), ("s2", True)]
    assert (back.system_identifier, back.archive.files) == (held.system_identifier, held.archive.files)
    assert (vault.root / "repository" / WAL).read_text() == "some WAL"
    assert bring_back(vault.at) == said


def test_a_repository_that_holds_something_is_left_alone(vault: Vault) -> None:
    """What is there may be all that is left."""
    write(vault.root / "other" / "sets" / "mine", "")
    at = vault.at
    at.block.directory = str(vault.root / "other")
    with pytest.raises(Misconfigured, match="is not empty"):
        bring_back(at)


def test_a_damaged_copy_is_passed_over_for_the_one_before_it(vault: Vault) -> None:
    """The newest that is whole comes back, and the sentence says that it is not the newest."""
    run("cp", "-a", vault.root / "place", vault.root / "spoilt")
    first, second = (each for each in vault.restic.snapshots() if each.what == "offsite")
    for pack in (vault.root / "spoilt" / "data").glob("*/*"):
        if datetime.fromtimestamp(pack.stat().st_mtime, UTC) > first.at + (second.at - first.at) / 2:
            flip_a_bit(vault.root / "spoilt", pack)
    at = vault.at
    at.block.restic.repository, at.block.directory = f"{vault.root}/spoilt", f"{vault.root}/third"
    said = bring_back(at)
    assert said.startswith("fell back: the copy of s2 is damaged")
    assert said.endswith(f"s1 is back in {vault.root}/third; verified")


def test_copies_of_sets_that_are_gone_are_let_go(vault: Vault) -> None:
    """Of those that are old enough; the newest stays whatever happens."""
    facts = {"resource": "recovery.backup.orders", "key": "take", "why": "test", "loss": "", "target": "orders"}
    more = {"node": "n1", "set_id": "s3", "kind": "full", "parent": "", "system_identifier": "7", "timeline": 1}
    rest = {"bytes": 1, "expire": (), "keep_from": None, "stream": True, "anew": False, "take_seconds": 60}
    at = vault.at
    run("cp", "-a", vault.root / "place", vault.root / "aged")
    at.block.restic.repository = f"{vault.root}/aged"
    run("mkdir", "-p", vault.root / "younger" / "sets")
    run("cp", "-a", vault.root / "repository" / "sets" / "s2", vault.root / "younger" / "sets" / "s2")
    at.block.directory = f"{vault.root}/younger"
    plan = TakePlan.model_validate(facts | more | rest | {"forget_before": datetime.now(UTC)})
    assert forget(at, plan) == "1 snapshots of restic let go"
    assert at.restic
    assert [each.set_id for each in at.restic.snapshots()] == ["s2"]


def snapshot(name: str, days: int, what: str = "files") -> Snapshot:
    facts = {"id": f"{what}-{name}", "at": NOON - timedelta(days=days), "set_id": name, "what": what}
    return Snapshot.model_validate(facts)


def kept(*names: str) -> tuple[BackupSet, ...]:
    facts = {"kind": "full", "system_identifier": "7", "major": 18, "timeline": 1, "start_lsn": 1, "end_lsn": 2}
    more = {"began_at": NOON, "ended_at": NOON, "bytes": 1, "restored_bytes": 1, "manifest_sha256": ""}
    return tuple(BackupSet.model_validate({"id": name} | facts | more) for name in names)


def test_what_is_old_and_has_no_set_any_more_goes() -> None:
    """What is young, what has its set, and the newest of each kind stay."""
    found = (snapshot("a", 40), snapshot("a", 40, "offsite"), snapshot("b", 35), snapshot("c", 3))
    assert outlived(found, kept("b", "c"), NOON - timedelta(days=30)) == ("files-a",)


def test_where_there_is_no_set_nothing_goes() -> None:
    """Then it is the repository that was lost, and the copies are all that is left."""
    found = (snapshot("a", 40), snapshot("b", 35))
    assert outlived(found, (), NOON) == ()


def test_a_copy_inside_the_repository_is_none() -> None:
    """It would be lost with it."""
    place = ResticPlace(repository="/vault/repository/restic", password=SecretStr(PASSWORD), offsite=True)
    with pytest.raises(ValidationError, match="is no other place"):
        BackupRepository(directory="/vault/repository", bin_directory="/bin", restic=place)
