"""What uses the database is stopped before a restore and works after it, however the restore ends."""

from __future__ import annotations

import pytest
from prefect import flow

from blocks.backup_repository import BackupRepository
from flows.backup_restore import backup_restore
from flows.backup_take import backup_take
from flows.disaster_recover import disaster_recover
from flows.procedure import concludes
from tasks.backups.decide_restore import decide_restore
from tasks.backups.policies import RestorePolicy
from tasks.backups.probe import observe_target
from tasks.backups.reach import reach
from tasks.backups.restore_act import stop_nodes, stop_services
from tasks.guard import approve
from tasks.model import Report
from tests.flows.fakes import Died
from tests.flows.orders import cluster
from tests.flows.test_backup_restore import add, add_and_locate, clients, lose_wal
from tests.services import SHOP, WORKER, Services

pytestmark = pytest.mark.long
STOPPED, STARTED = ["worker stopped", "shop stopped"], ["shop started", "worker started"]


@pytest.fixture
def lab(saved):
    """Give a cluster of one node, with a set."""
    with cluster(saved, nodes=1) as it:
        backup_take("orders", return_state=True)
        yield it


@pytest.fixture
def services(lab):
    """Give what uses it."""
    block = BackupRepository.load("orders")
    it = Services(lab.vault / "services", lab.account, block.control)
    block.services = it.described()
    block.save("orders", overwrite=True)
    yield it
    it.end()


def restored(**policy):
    given = {"approval": "auto", "min_interval_seconds": 0, **policy}
    state = backup_restore("orders", given, requested_by="a person", return_state=True)
    return state.name, state.result(raise_on_failure=False)


def found(report, name: str) -> str:
    return next(step.found for step in report.timeline if step.name == name)


def test_they_are_stopped_in_reverse_and_started_in_order(lab, services) -> None:
    """One that does not listen keeps nobody from being restored; it is said."""
    moment = add(lab, "before")
    add(lab, "after")
    services.befall("worker.stubborn")
    name, report = restored(target="time", to=moment.isoformat())
    assert name == "Recovered", report.why
    assert found(report, "stop-services").startswith("worker was not stopped: worker does not listen; shop stopped")
    services.mend()
    services.told()
    name, report = restored(target="time", to=moment.isoformat())
    assert name == "Recovered", report.why
    assert services.told() == [*STOPPED, *STARTED]
    assert [each.claim for each in report.evidence if "shop" in each.claim] == ["shop works."]
    assert clients(lab) == {"before": 100}


def test_one_that_does_not_get_well_is_named_and_the_database_stays_recovered(lab, services) -> None:
    """The run says what to mend, and that nothing was started that depends on it; after that it is run again."""
    moment = add(lab, "before")
    add(lab, "after")
    services.befall("shop.sick")
    name, report = restored(target="time", to=moment.isoformat())
    assert name == "Unverified", report.why
    assert "shop works. (seen: shop does not answer)" in report.why
    assert "worker was not started, because shop does not work: mend that, then start worker yourself" in report.why
    assert services.told() == [*STOPPED, "shop started"]
    assert [each.claim for each in report.evidence if not each.holds] == ["shop works.", "worker works."]
    assert clients(lab) == {"before": 100}
    services.mend()
    name, report = restored(target="time", to=moment.isoformat())
    assert (name, report.plan.why.startswith("Go on with what was cut off")) == ("Recovered", True), report.why
    assert services.told() == ["worker started"]
    assert clients(lab) == {"before": 100}


def test_once_clients_were_let_in_nothing_is_put_back(lab, services) -> None:
    """The run is gone on with, and its server does not start any more: the rows that were written since stay there."""
    moment = add(lab, "before")
    services.befall("shop.sick")
    assert restored(target="time", to=moment.isoformat())[0] == "Unverified"
    services.mend()
    add(lab, "since")
    data = lab.nodes["n1"].data
    identity = data.stat().st_ino
    lab.kill_node("n1")
    (data / "global/pg_control").rename(lab.root / "kept")
    name, report = restored(target="time", to=moment.isoformat())
    assert (name, "clients were let into" in report.why) == ("NeedsHuman", True), report.why
    assert (data.stat().st_ino, lab.primaries()) == (identity, [])
    (lab.root / "kept").rename(data / "global/pg_control")
    name, report = restored(target="time", to=moment.isoformat())
    assert name == "Recovered", report.why
    assert clients(lab) == {"before": 100, "since": 100}
    assert services.working() == [SHOP, WORKER]


def test_a_restore_that_fails_starts_them_again(lab, services) -> None:
    """They work as before; and when one does not, that is not passed over. Nobody was promoted half-way."""
    position = add_and_locate(lab)
    lose_wal(lab)
    name, report = restored(target="lsn", to=position)
    assert name == "Refused", report.why
    assert "recovery ended before configured recovery target was reached" in report.why
    assert services.told() == [*STOPPED, *STARTED]
    assert services.working() == [SHOP, WORKER]
    assert lab.psql("n1", "SELECT timeline_id FROM pg_control_checkpoint()") == [(1,)]
    services.befall("worker.broken")
    name, report = restored(target="lsn", to=position)
    assert name == "NeedsHuman", report.why
    assert "Could not be taken back" in report.why
    assert "worker was not started: worker has no licence" in report.why
    assert services.working() == [SHOP]
    assert clients(lab) == {"after": 100, "before": 100}


@flow(name="backup-restore", retries=0)
@concludes
def killed(target: str = "orders") -> Report:
    """Stop everybody, and be killed."""
    at, policy = reach(target), RestorePolicy(approval="auto", min_interval_seconds=0)
    plan = approve(decide_restore(observe_target(at, policy), policy), policy, lambda: None)  # type: ignore[arg-type,return-value]
    stop_services(at, plan)
    stop_nodes(at, plan)
    raise Died


def test_what_a_killed_run_has_stopped_the_next_one_starts(lab, services) -> None:
    """Also when that one fails: server and services run again as they did before the first."""
    position = add_and_locate(lab)
    with pytest.raises(Died):
        killed()
    assert (services.told(), lab.primaries()) == (STOPPED, [])
    lose_wal(lab)
    name, report = restored(target="lsn", to=position)
    assert (name, "recovery ended before" in report.why) == ("Refused", True), report.why
    assert (services.told(), lab.primaries()) == (STARTED, ["n1"])
    (lab.vault / "lost.wal").unlink()
    with pytest.raises(Died):
        killed()
    name, report = restored(target="lsn", to=position)
    assert name == "Recovered", report.why
    assert services.told() == [*STOPPED, *STARTED]
    assert clients(lab) == {"before": 100}


def test_after_a_disaster_they_are_started_in_order(lab, services) -> None:
    """The same holds where the database was lost; a database that is only started stops nobody."""
    add(lab, "archived")
    lab.await_archived()
    lab.kill_node("n1")
    state = disaster_recover("orders", {"min_interval_seconds": 0}, return_state=True)
    report = state.result(raise_on_failure=False)
    assert (state.name, report.plan.way, services.told()) == ("Recovered", "start", []), report.why
    lab.destroy("n1")
    services.befall("shop.broken")
    state = disaster_recover("orders", {"min_interval_seconds": 0}, return_state=True)
    report = state.result(raise_on_failure=False)
    assert (state.name, report.plan.way) == ("Unverified", "restore"), report.why
    assert "shop was not started: shop has no licence" in report.why
    assert (services.told(), clients(lab)) == (STOPPED, {"archived": 100})
