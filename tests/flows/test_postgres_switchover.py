from __future__ import annotations

from flows.postgres_switchover import postgres_switchover
from tasks.postgres.act import checkpoint, pause_clients, stop_primary
from tasks.postgres.decide_switchover import decide_switchover
from tasks.postgres.policies import SwitchoverPolicy
from tests.flows.orders import steps, stopped_half_way
from tests.lab.processes import wait_until


def test_it_does_its_steps_in_order(orders):
    """Clients are held before the old primary stops, and go on only when they lead to the new one."""
    state = postgres_switchover("orders", requested_by="test", return_state=True)
    assert state.name == "Recovered", state.message
    assert steps(state) == [
        "checkpoint",
        "pause-clients",
        "stop-primary",
        "promote",
        "route-writes",
        "resume-clients",
        "follow",
        "demote",
    ]


def test_before_the_promotion_everything_is_given_back(orders):
    """A run that stands down with the old primary stopped starts it again and lets clients go on."""

    def decide(seen):
        return decide_switchover(seen, SwitchoverPolicy())

    state = stopped_half_way(decide, checkpoint, pause_clients, stop_primary)
    assert state.name == "Refused"
    assert steps(state)[3:5] == ["undo-stop-primary", "undo-pause-clients"]
    assert orders.primaries() == ["n1"]
    wait_until(lambda: orders.streaming("n1") == ["n2", "n3"], 20, "the standbys to follow n1 again")
