"""A restore goes back to the very moment that was named, is taken back when it fails, and says what it cannot reach."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from prefect import flow

from blocks.backup_repository import BackupRepository
from blocks.errors import StandDown
from flows.backup_restore import backup_restore
from flows.backup_take import backup_take
from flows.procedure import concludes
from tasks.backups.decide_restore import decide_restore
from tasks.backups.policies import RestorePolicy
from tasks.backups.probe import observe_target
from tasks.backups.reach import reach
from tasks.backups.restore_act import salvage_wal, stop_nodes
from tasks.guard import approve
from tasks.model import Report
from tests.services import thief


def restored(**policy):
    given = {"approval": "auto", **policy}
    state = backup_restore("orders", given, requested_by="a person", return_state=True)
    return state.name, state.result(raise_on_failure=False)


def add(lab, client: str, rows: int = 100) -> datetime:
    """Let a client place orders; give a moment after that and before whatever comes next."""
    lab.psql("n1", f"INSERT INTO orders SELECT '{client}', g, 1 FROM generate_series(1, {rows}) g", "orders")
    time.sleep(0.02)
    (row,) = lab.psql("n1", "SELECT clock_timestamp()")
    time.sleep(0.02)
    return row[0]


def clients(lab) -> dict[str, int]:
    return dict(lab.psql("n1", "SELECT client, count(*) FROM orders GROUP BY 1 ORDER BY 1", "orders"))


def add_and_locate(lab) -> str:
    """Place orders, and more; give the position between them, when all of it is in the repository."""
    add(lab, "before")
    ((position,),) = lab.psql("n1", "SELECT pg_current_wal_insert_lsn()::text")
    add(lab, "after")
    lab.await_archived()
    return position


def lose_wal(lab) -> None:
    """Let all WAL of the repository be gone as soon as services are stopped, and be back when they are started."""
    block = BackupRepository.load("orders")
    block.services = [*block.services, thief(block)]
    block.save("orders", overwrite=True)
    (lab.vault / "lost.wal").touch()


@pytest.mark.long
@pytest.mark.parametrize("since", ["the newest set", "the oldest set", "never"])
def test_a_restore_point_is_found_before_anybody_is_stopped(orders, since) -> None:
    """Also one that only the oldest set leads to; one that was never set is refused, and nothing was touched."""
    backup_take("orders", return_state=True)
    add(orders, "before")
    if since != "never":
        orders.psql("n1", "SELECT pg_create_restore_point('good')")
    add(orders, "after")
    if since == "the oldest set":
        backup_take("orders", {"kind": "full"}, return_state=True)
    orders.await_archived()
    name, report = restored(target="name", to="good")
    if since == "never":
        assert (name, report.timeline) == ("Refused", ()), report.why
        assert "There is no restore point `good` in the WAL" in report.why
        assert {"n2", "n3"} <= set(orders.streaming("n1"))
        return
    assert name == "Recovered", report.why
    assert clients(orders) == {"before": 100}


def test_every_row_before_the_moment_is_there_and_none_after_it(orders) -> None:
    """Point in time is exact, the old directory is kept, a new set protects the new history, clients are led here."""
    backup_take("orders", return_state=True)
    moment = add(orders, "before")
    add(orders, "after")
    name, report = restored(target="time", to=moment.isoformat())
    assert name == "Recovered", report.why
    assert clients(orders) == {"before": 100}
    assert orders.primaries() == ["n1"]
    assert len(list(orders.nodes["n1"].disk.glob("data.damaged-*"))) == 1
    assert {"rto_writable_seconds", "rto_verified_seconds", "rto_protected_seconds"} <= set(report.figures)
    assert any("n2, n3" in said for said in report.unverified)
    state = backup_take("orders", return_state=True)
    assert state.name == "Recovered"


@pytest.mark.long
def test_a_restore_that_fails_gives_everything_back(orders) -> None:
    """WAL that gets lost on the way stops the recovery; the old directory returns, and everybody runs as before."""
    backup_take("orders", return_state=True)
    position = add_and_locate(orders)
    lose_wal(orders)
    name, report = restored(target="lsn", to=position)
    assert name == "Refused", report.why
    assert "recovery ended before" in report.why
    assert clients(orders) == {"after": 100, "before": 100}
    assert orders.primaries() == ["n1"]
    assert orders.psql("n1", "SELECT timeline_id FROM pg_control_checkpoint()") == [(1,)]
    assert {"n2", "n3"} <= set(orders.streaming("n1"))
    assert orders.psql("n1", "SHOW restore_command") == [("",)]


@flow(name="half-way", retries=0)
@concludes
def half_way(target: str = "orders", policy: RestorePolicy = RestorePolicy(approval="auto")) -> Report:  # noqa: B008
    """Restore as far as the WAL that is copied out, and give up."""
    at = reach(target)
    plan = approve(decide_restore(observe_target(at, policy), policy), policy, lambda: None)  # type: ignore[arg-type,return-value]
    stop_nodes(at, plan)
    salvage_wal(at, plan)
    raise StandDown("That is far enough.")


@pytest.mark.long
def test_wal_that_was_copied_out_goes_with_a_restore_that_is_taken_back(orders) -> None:
    """The old directory lives on, so a copy of its unfinished file would hide the whole one from the next recovery."""
    backup_take("orders", return_state=True)
    add(orders, "kept")
    report = half_way(return_state=True).result(raise_on_failure=False)
    copied = next(step.found for step in report.timeline if step.name == "salvage-wal")
    assert copied.startswith("1 files of WAL copied out"), report.why
    assert len(list((orders.vault / "repository/wal").glob("*Z"))) == 1
    assert clients(orders) == {"kept": 100}
    assert orders.primaries() == ["n1"]


@pytest.mark.long
def test_a_disk_that_fills_up_while_a_set_is_copied_stops_nobody(orders) -> None:
    """The set is copied before anybody is stopped; what was copied is kept, and the next run goes on with it."""
    backup_take("orders", return_state=True)
    moment = add(orders, "before")
    add(orders, "after")
    full_disk(orders, "n1")
    name, report = restored(target="time", to=moment.isoformat(), min_interval_seconds=0)
    assert name == "Refused", report.why
    assert "What was copied is kept: make room" in report.why
    assert [step.name for step in report.timeline if not step.name.startswith("undo")] == ["freeze", "fetch-set"]
    assert {"n2", "n3"} <= set(orders.streaming("n1"))
    assert not (orders.vault / "repository/frozen").exists()
    full_disk(orders, "n1", full=False)
    name, report = restored(target="time", to=moment.isoformat(), min_interval_seconds=0)
    assert name == "Recovered", report.why
    assert any("went on where an earlier restore had stopped" in step.found for step in report.timeline)
    assert clients(orders) == {"before": 100}


def full_disk(lab, host: str, *, full: bool = True) -> None:
    """Let no file of a host be larger than a few MB: what stands in for a full disk where nothing may be mounted."""
    lab.world.ask("host", node=host, state={"limit": "8192" if full else ""})


@pytest.mark.long
def test_a_dry_run_changes_nothing(orders) -> None:
    """It says from which set it would restore, and what that loses; no file is written and nobody is stopped."""
    backup_take("orders", return_state=True)
    moment = add(orders, "kept")
    add(orders, "later")
    before = sorted(path for path in orders.root.rglob("*") if "salvor" in path.name)
    name, report = restored(target="time", to=moment.isoformat(), dry_run=True)
    assert (name, report.plan.chains[0][-1].endswith("-full")) == ("NothingToDo", True), report.why
    assert "after" in report.plan.loss
    assert sorted(path for path in orders.root.rglob("*") if "salvor" in path.name) == before
    assert {"n2", "n3"} <= set(orders.streaming("n1"))


@pytest.mark.long
def test_what_cannot_be_reached_is_refused_with_the_reason(orders) -> None:
    """Before the oldest set, in the future, without a zone, no position, no such set, no such node: nothing changes."""
    backup_take("orders", return_state=True)
    now = datetime.now(UTC)
    for policy, said in (
        ({"target": "time", "to": (now - timedelta(days=1)).isoformat()}, "the oldest set"),
        ({"target": "time", "to": (now + timedelta(days=1)).isoformat()}, "future"),
        ({"target": "time", "to": "2026-11-29 10:00"}, "with its zone"),
        ({"target": "lsn", "to": "nonsense"}, "no position"),
        ({"target": "lsn", "to": "FF/0"}, "can be read up to"),
        ({"target": "set", "to": "none"}, "holds no set"),
        ({"target": "time"}, "Say in `to`"),
        ({"node": "n9"}, "no node"),
    ):
        name, report = restored(**policy)
        assert (name, said in report.why) == ("Refused", True), (policy, report.why)
    assert {"n2", "n3"} <= set(orders.streaming("n1"))
