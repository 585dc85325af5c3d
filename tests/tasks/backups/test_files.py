"""An application's files, its .env, its JSON and its Redis come back as they were kept, or it is said what did not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blocks.backup_records import BackupSet, KeptFile
from blocks.backup_repository import BackupRepository
from blocks.errors import Misconfigured
from blocks.kept_files import REDIS_DUMP, Marks
from blocks.postgres import PostgresCluster
from blocks.restic_place import ResticPlace
from tasks.backups.files import compare_files, keep, restore_files
from tasks.backups.reach import Reach
from tasks.backups.state import TakePlan
from tests.blocks.servers import bin_directory, free_port, run, scratch
from tests.stores import HERE, PASSWORD, needs_redis, needs_restic, redis, write

pytestmark = [needs_restic, needs_redis, pytest.mark.long]
SECRET = "sk_live_value_of_a_key"
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def plan(set_id: str = "s1", **changes: Any) -> TakePlan:
    facts = {"resource": "recovery.backup.orders", "key": "take", "why": "test", "loss": "", "target": "orders"}
    more = {"node": "n1", "set_id": set_id, "kind": "full", "parent": "", "system_identifier": "7", "timeline": 1}
    rest = {"bytes": 1, "expire": (), "keep_from": None, "stream": True, "anew": False, "take_seconds": 60}
    return TakePlan.model_validate(facts | more | rest | changes)


def made(set_id: str = "s1", **changes: Any) -> BackupSet:
    facts = {"id": set_id, "kind": "full", "system_identifier": "7", "major": 18, "timeline": 1}
    more = {"start_lsn": 1, "end_lsn": 2, "began_at": NOON, "ended_at": NOON, "bytes": 1, "restored_bytes": 1}
    return BackupSet.model_validate(facts | more | {"manifest_sha256": ""} | changes)


@dataclass
class Shop:
    """An application on the repository's host, and how its repository is described."""

    root: Path
    block: BackupRepository
    kept: BackupSet = field(init=False)
    said: str = ""

    @property
    def at(self) -> Reach:
        node = {"name": "n1", "host": "127.0.0.1", "data_directory": "/nowhere", "bin_directory": "/nowhere"}
        cluster = PostgresCluster.model_validate({"nodes": [node]})
        return Reach(target="orders", cluster=cluster, block=self.block)

    @property
    def app(self) -> Path:
        return self.root / "app"

    @property
    def back(self) -> Path:
        """Say where the application's folder is restored."""
        return self.root / "back" / str(self.app).lstrip("/")

    def taken(self, set_id: str) -> BackupSet:
        """Keep its files with a set, as backup-take does, but for the database."""
        return self.commit(made(set_id, **keep(self.at, plan(set_id))))

    def commit(self, it: BackupSet) -> BackupSet:
        # What pg_basebackup would have left here: to a set that is not growing nothing is added.
        part = self.root / "repository" / "sets" / f".{it.id}.part" / "data"
        run("mkdir", "-p", part)
        run("touch", part / "backup_manifest")
        data = f"{self.block.directory}/sets/.{it.id}.part/data"
        run("sh", "-c", f"mkdir -p {data} && cd {data} && echo 18 >PG_VERSION && echo '{{}}' >backup_manifest")
        self.at.repository.commit(it)
        return it


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """Give an application whose files and Redis were kept with the set s1, and restored into `back`.

    It is made once: every call of restic costs a third of a second.
    """
    with scratch() as root:
        write(root / "app" / ".env", f"STRIPE_KEY={SECRET}\n", 0o600)
        write(root / "app" / "prices.json", '{"basic": 900}')
        write(root / "app" / "data" / "list.json", "[1, 2]", 0o640)
        write(root / "app" / "broken.json", '{"half": ')
        (root / "current").symlink_to(root / "app")
        run("mkdir", "-p", root / "repository")
        it = Shop(root, described(root, files=[str(root / "current"), "/nowhere/at-all"]))
        with redis(root / "redis", password="of redis") as live:
            for number in range(7):
                live.cli("set", f"key{number}", "value")
            it.block.redis_url = SecretStr(live.url)
            it.kept = it.taken("s1")
        it.said = restore_files(it.at, "s1", f"{root}/back")
        yield it


@pytest.fixture
def copy(shop: Shop) -> Iterator[str]:
    """Give a copy of what was restored, to break."""
    with scratch() as root:
        run("cp", "-a", shop.root / "back", root / "back")
        yield f"{root}/back"


@pytest.fixture
def another() -> Iterator[Shop]:
    """Give an application of which nothing was kept yet, and whose place of restic is not there."""
    with scratch() as root:
        write(root / "app" / "prices.json", "{}")
        run("mkdir", "-p", root / "repository")
        yield Shop(root, described(root, files=[str(root / "app")]))


def described(root: Path, files: list[str]) -> BackupRepository:
    return BackupRepository(
        directory=str(root / "repository"),
        bin_directory=str(bin_directory()),
        control=HERE,
        files=files,
        restic=ResticPlace(repository=str(root / "place"), password=SecretStr(PASSWORD)),
    )


def names(found: tuple[str, ...]) -> list[str]:
    """Leave the folder out of sentences that begin with a path."""
    return [each.rpartition("/")[2] for each in found]


def test_files_come_back_with_their_content_and_their_mode(shop: Shop) -> None:
    """A .env of 0600 is one again; a path that is a link, such as current, is no empty promise."""
    assert {Path(each.path).name: each.mode for each in shop.kept.files} == {
        ".env": "600",
        "broken.json": "644",
        "list.json": "640",
        "prices.json": "644",
    }
    assert shop.said.startswith(f"4 files and 7 keys of Redis in {shop.root}/back")
    assert (shop.back / ".env").read_text() == f"STRIPE_KEY={SECRET}\n"
    assert (shop.back / ".env").stat().st_mode & 0o777 == 0o600


def test_a_mode_is_put_right_when_it_is_restored_again(shop: Shop) -> None:
    """What somebody opened to everybody meanwhile is closed."""
    (shop.back / ".env").chmod(0o644)
    _, wrong = compare_files(shop.at, "s1", f"{shop.root}/back")
    assert ".env has the mode 644 instead of 600" in names(wrong)
    restore_files(shop.at, "s1", f"{shop.root}/back")
    assert (shop.back / ".env").stat().st_mode & 0o777 == 0o600


def test_no_value_of_an_env_is_in_the_set_and_none_can_be_guessed(shop: Shop) -> None:
    """Its fingerprint is a keyed one: whoever guesses the content cannot prove it."""
    record = shop.kept.model_dump_json()
    assert SECRET not in record
    assert PASSWORD not in record
    plain = {name: run("sha256sum", shop.app / name).split()[0] for name in (".env", "prices.json")}
    kept = {Path(each.path).name: each.sha256 for each in shop.kept.files}
    assert kept["prices.json"] == plain["prices.json"]
    assert len(kept[".env"]) == len(plain[".env"])
    assert kept[".env"] != plain[".env"]


def test_what_came_back_otherwise_is_named(shop: Shop, copy: str) -> None:
    """A file that is missing, one that was changed, JSON that nobody can read, and a dump that is damaged."""
    assert "WRONG: " in shop.said
    assert names((shop.said,)) == ["broken.json is no JSON (line 1, column 10)"]
    folder, dump = Path(copy + str(shop.app)), Path(copy) / REDIS_DUMP
    (folder / "prices.json").unlink()
    write(folder / "data" / "list.json", "[1, 3]", 0o640)
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    said, wrong = compare_files(shop.at, "s1", copy)
    assert said == "4 files"
    *files, redis_said = wrong
    assert "dump of Redis is damaged" in redis_said
    assert names(tuple(files)) == [
        "list.json is not what was kept",
        "prices.json is missing",
        "broken.json is no JSON (line 1, column 10)",
    ]


def test_what_could_not_be_kept_is_written_into_the_set(shop: Shop, another: Shop) -> None:
    """A path that is not there; and a Redis that does not answer."""
    assert shop.kept.missing == ("there is no /nowhere/at-all",)
    another.block.files, another.block.restic = [], shop.block.restic
    another.block.redis_url = SecretStr(f"redis://127.0.0.1:{free_port()}")
    kept = another.taken("s2")
    assert kept.redis_keys is None
    assert "Could not connect to Redis" in kept.missing[0]


def test_a_file_that_changes_while_it_is_kept_has_no_fingerprint() -> None:
    """Nobody knows which of its contents was kept, so it is not compared; one that went away neither."""
    steady, changed, gone = (KeptFile(path=name, mode="600", bytes=1, sha256="aa") for name in "abc")
    before = Marks(files={each.path: each for each in (steady, changed, gone)})
    later = Marks(files={"a": steady, "b": changed.model_copy(update={"sha256": "bb"})})
    assert [each.sha256 for each in before.settled(later)] == ["aa", "", ""]


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis://:top/secret@127.0.0.1", "redis://:top secret:x@[::1"])
def test_an_address_of_redis_that_is_none_is_said_without_its_password(another: Shop, url: str) -> None:
    """Also where the password is what spoils it."""
    with pytest.raises(Misconfigured, match="redis_url") as caught:
        another.at.host_files.dump_redis(url, "/nowhere/dump.rdb", 5)
    assert "secret" not in str(caught.value)
    assert "top" not in str(caught.value)


def test_without_a_place_the_form_is_named(another: Shop) -> None:
    """Files that are to be kept, and no restic to keep them."""
    another.block.restic = ResticPlace()
    assert "fill in restic" in another.taken("s1").missing[0]
    with pytest.raises(Misconfigured, match="fill in restic"):
        restore_files(another.at, "s1", f"{another.root}/back")


def test_a_place_that_is_gone_is_not_begun_anew(another: Shop) -> None:
    """An earlier set was kept in it, so its disk is not mounted: that is said, and nothing is made there."""
    another.commit(made("s1", apart=True))
    (said,) = another.taken("s2").missing
    assert "is its disk mounted?" in said
    assert not (another.root / "place").exists()


def test_every_key_of_redis_comes_back_whether_or_not_it_keeps_an_append_only_file(shop: Shop, copy: str) -> None:
    """A dump that is put back alone gives no key where `appendonly` is on; the folder that is restored does."""
    assert shop.kept.redis_keys == 7
    assert not (shop.root / "repository" / REDIS_DUMP).parent.exists()
    folder, alone = (Path(copy) / REDIS_DUMP).parent, Path(copy) / "alone"
    run("cp", "-a", folder, f"{folder}-2")
    run("mkdir", alone)
    run("cp", folder / "dump.rdb", alone)
    with redis(alone, "--appendonly", "yes") as trap:
        assert trap.cli("dbsize") == "0"
    with redis(Path(f"{folder}-2"), "--appendonly", "yes") as again:
        assert again.cli("dbsize") == "7"
    with redis(folder, f"{folder}/redis.conf") as plain:
        assert plain.cli("dbsize") == "7"
