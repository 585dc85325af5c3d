"""Sets are kept and proven; the next one builds on the last, and what cannot be kept is refused."""

from __future__ import annotations

import pytest

from blocks.backup_repository import BackupRepository
from flows.backup_take import backup_take


def test_a_full_set_is_kept_and_the_next_one_builds_on_it(orders) -> None:
    """The first set is full, the second incremental; both are proven."""
    for kind in ("full", "incremental"):
        state = backup_take("orders", return_state=True)
        report = state.result(raise_on_failure=False)
        assert (state.name, report.plan.kind) == ("Recovered", kind), report.why


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
