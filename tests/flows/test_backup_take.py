"""Sets are kept and proven; the next one builds on the last, and what cannot be kept is refused."""

from __future__ import annotations

from flows.backup_take import backup_take


def test_a_full_set_is_kept_and_the_next_one_builds_on_it(orders) -> None:
    """The first set is full, the second incremental; both are proven."""
    for kind in ("full", "incremental"):
        state = backup_take("orders", return_state=True)
        report = state.result(raise_on_failure=False)
        assert (state.name, report.plan.kind) == ("Recovered", kind), report.why
