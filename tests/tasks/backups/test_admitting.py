"""Services are stopped and started in their order, by what they say of themselves; what does not come back is said."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from blocks.backup_repository import BackupRepository
from blocks.errors import StandDown
from blocks.node_control import LocalControl
from blocks.postgres import PostgresCluster, PostgresNode
from blocks.service import Service
from tasks.backups import admitting, serving
from tasks.backups.decide_restore import decide_restore
from tasks.backups.policies import RestorePolicy
from tasks.backups.reach import Reach
from tests.lab.account import place, unprivileged
from tests.services import SHOP, WORKER, Services
from tests.tasks.backups.worlds import down, view

PLAN = decide_restore(view(), RestorePolicy()).plan
LOST = decide_restore(view(down("n1")), RestorePolicy()).plan
UNSTARTED = "worker was not started, because shop does not work: mend that, then start worker yourself"


@pytest.fixture
def services():
    """Give a shop and a worker, which run."""
    root = place()
    it = Services(root / "services", unprivileged(), LocalControl(run_as=unprivileged().name))
    yield it
    it.end()
    root.rmdir()


def at(services: Services, **given: str) -> Reach:
    """Reach a cluster of which there is nothing but what uses it."""
    node = PostgresNode(
        name="n1", host="127.0.0.1", port=1, data_directory=f"{services.folder}/data", bin_directory="/nowhere"
    )
    block = BackupRepository(
        directory=f"{services.folder}/repository", bin_directory="/nowhere", services=services.described(**given)
    )
    cluster = PostgresCluster(nodes=[node], user="salvor", replication_user="replicator")
    return Reach(target="orders", cluster=cluster, block=block)


def test_the_last_is_stopped_first_and_started_last(services: Services) -> None:
    """The worker is started only when the shop works, and not when its start has returned."""
    there = at(services)
    assert admitting.hold(there, PLAN) == "worker stopped; shop stopped"
    assert services.told() == ["worker stopped", "shop stopped"]
    said = admitting.admit(there, PLAN)
    assert said == "shop started; worker started"
    assert services.told() == ["shop started", "worker started"]
    assert serving.ailing(there.block.services, said) == ((SHOP, ""), (WORKER, ""))


def test_one_that_does_not_listen_keeps_nobody_from_being_stopped(services: Services) -> None:
    """The database is stopped anyway; it sees errors."""
    services.befall("worker.stubborn")
    said = admitting.hold(at(services), PLAN)
    assert said == "worker was not stopped: worker does not listen; shop stopped"
    assert services.told() == ["shop stopped"]


@pytest.mark.parametrize("what", ["shop.sick", "shop.broken"])
def test_what_depends_on_an_ill_one_is_not_started(services: Services, what: str) -> None:
    """Both are said, each with its reason and what to do."""
    there = at(services)
    admitting.hold(there, PLAN)
    services.befall(what)
    said = admitting.admit(there, PLAN)
    assert said.endswith(UNSTARTED)
    assert "shop started" not in said
    why = "shop does not answer" if what == "shop.sick" else "shop was not started: shop has no licence"
    assert serving.ailing(there.block.services, said) == ((SHOP, why), (WORKER, UNSTARTED))


@pytest.mark.parametrize("ill", [SHOP, WORKER])
def test_one_that_cannot_say_whether_it_works_is_believed_when_its_start_fails(services: Services, ill: str) -> None:
    """Nobody would hear of it otherwise."""
    there = at(services, mute=ill)
    admitting.hold(there, PLAN)
    services.befall(f"{ill}.broken")
    found = dict(serving.ailing(there.block.services, admitting.admit(there, PLAN)))
    assert found[ill] == f"{ill} was not started: {ill} has no licence"
    assert serving.mute(there.block.services) == (ill,)


def test_one_that_works_already_need_not_be_started(services: Services) -> None:
    """What it says of itself counts for more than what its start says."""
    there = at(services)
    services.befall("shop.broken")
    assert dict(serving.ailing(there.block.services, admitting.admit(there, PLAN))) == {SHOP: "", WORKER: ""}


def test_on_the_way_back_each_is_started_and_who_does_not_come_is_named(services: Services) -> None:
    """They all ran before: none waits for another that is ill, and a person hears of it."""
    there = at(services)
    admitting.hold(there, PLAN)
    assert admitting.go_on(there, PLAN) == "shop started; worker started"
    services.befall("shop.sick", "worker.broken")
    admitting.hold(there, PLAN)
    services.told()
    with pytest.raises(StandDown, match=r"^shop does not work: .*answer; worker was not started: .*Look after that"):
        admitting.go_on(there, PLAN)
    assert services.told() == ["shop started"]


def test_on_the_way_back_nobody_is_well_without_a_database(services: Services) -> None:
    """Where there was none before, it is no news that they do not work."""
    services.befall("shop.sick")
    assert LOST.was_primary == ""
    assert admitting.go_on(at(services), LOST) == "shop started; worker started"


def test_what_is_stopped_must_have_a_way_to_start() -> None:
    """The form says so, not the recovery."""
    with pytest.raises(ValidationError, match="shop would stay stopped"):
        Service(name=SHOP, stop="systemctl stop shop")
