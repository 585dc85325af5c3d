"""Sets are kept and proven; the next one builds on the last, and what cannot be kept is refused."""

from __future__ import annotations

import time

import pytest

from blocks.backup_repository import BackupRepository
from blocks.node_control import CommandControl
from flows.backup_take import backup_take
from tests.flows.test_backup_restore import full_disk

#: A disk that has room for half a set.
FULL = """#!/bin/sh
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
echo "disk 99999 0 20000 99% /"
"""


def test_a_full_set_is_kept_and_the_next_one_builds_on_it(orders) -> None:
    """The first set is full, the second incremental; both are proven."""
    for kind in ("full", "incremental"):
        state = backup_take("orders", return_state=True)
        report = state.result(raise_on_failure=False)
        assert (state.name, report.plan.kind) == ("Recovered", kind), report.why


@pytest.mark.long
def test_a_disk_that_fills_up_leaves_no_half_set(orders) -> None:
    """The set before it is as good as it was, the stream goes on, and with room the next one is kept."""
    backup_take("orders", return_state=True)
    full_disk(orders, "vault")
    state = backup_take("orders", {"kind": "full"}, return_state=True)
    report = state.result(raise_on_failure=False)
    assert (state.name, "nothing of it was kept" in report.why) == ("Refused", True), report.why
    (left,) = (orders.vault / "repository/sets").iterdir()
    assert (left / "verified").exists()
    full_disk(orders, "vault", full=False)
    orders.await_archived()
    state = backup_take("orders", {"kind": "full"}, return_state=True)
    assert state.name == "Recovered", state.result(raise_on_failure=False).why


@pytest.mark.long
def test_in_a_full_repository_what_is_too_old_goes_first(orders) -> None:
    """What it would expire afterwards makes room for it; the last good set stays until there is a newer one."""
    for _ in range(2):
        backup_take("orders", {"kind": "full"}, return_state=True)
        time.sleep(1)
    sets = sorted(path.name for path in (orders.vault / "repository/sets").iterdir())
    shim = orders.vault / "shim-df"
    shim.mkdir()
    (shim / "df").write_text(FULL)
    (shim / "df").chmod(0o755)
    block = BackupRepository.load("orders")
    block.control = CommandControl(template=f"{orders.vault / 'host'} 'PATH={shim}:$PATH; '{{script}}")
    block.save("orders", overwrite=True)
    state = backup_take("orders", {"kind": "full", "keep_days": 0.000001, "keep_fulls": 1}, return_state=True)
    report = state.result(raise_on_failure=False)
    assert state.name == "Recovered", report.why
    assert f"expired {sets[0]}" in next(step.found for step in report.timeline if step.name == "make-room")
    assert sorted(path.name for path in (orders.vault / "repository/sets").iterdir()) == [sets[1], report.plan.set_id]


@pytest.mark.long
def test_without_a_stream_a_set_is_still_one(orders) -> None:
    """Where WAL is not wanted nothing fails for its want; the report says what that means."""
    block = BackupRepository.load("orders")
    block.stream_wal = False
    block.save("orders", overwrite=True)
    state = backup_take("orders", return_state=True)
    report = state.result(raise_on_failure=False)
    assert state.name == "Recovered", report.why
    assert any("WAL is not streamed" in said for said in report.unverified)
    assert orders.psql("n1", "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'salvor_archive'") == [(0,)]
