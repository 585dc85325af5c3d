"""Sets are kept, proven and expired."""

from __future__ import annotations

from flows.backup_drill import backup_drill
from flows.backup_take import backup_take
from tests.flows.orders import steps


def ended(state):
    report = state.result(raise_on_failure=False)
    return state.name, report


def test_a_full_set_is_kept_and_the_next_one_builds_on_it(orders) -> None:
    """The first set is full and proven, the second incremental; both can be restored in a drill."""
    name, report = ended(backup_take("orders", return_state=True))
    print(report.model_dump_json(indent=1))
    assert name == "Recovered", report.why
    name, report = ended(backup_take("orders", return_state=True))
    print(report.model_dump_json(indent=1))
    assert name == "Recovered", report.why
    name, report = ended(backup_drill("orders", return_state=True))
    print(report.model_dump_json(indent=1))
    assert name == "Recovered", report.why
