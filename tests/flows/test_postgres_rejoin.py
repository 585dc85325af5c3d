from __future__ import annotations

from flows.postgres_rejoin import postgres_rejoin
from flows.postgres_switchover import postgres_switchover
from tests.flows.orders import steps


def test_it_does_its_steps_in_order_and_then_finds_nothing_to_do(orders):
    """A standby that stopped is started behind the primary; a second run changes nothing."""
    orders.nodes["n3"].stop()
    state = postgres_rejoin("orders", return_state=True)
    assert state.name == "Recovered", state.message
    assert steps(state) == ["retire", "ready-primary", "keep-discarded", "bring-back", "start-following"]
    assert orders.streaming("n1") == ["n2", "n3"]
    assert postgres_rejoin("orders", return_state=True).name == "NothingToDo"


def test_a_node_of_an_older_timeline_is_rewound(orders):
    """A standby that was down during a switchover comes back on the new timeline."""
    orders.nodes["n3"].stop()
    moved = postgres_switchover("orders", requested_by="test", return_state=True)
    state = postgres_rejoin("orders", return_state=True)
    assert (moved.name, state.name) == ("Recovered", "Recovered"), (moved.message, state.message)
    assert orders.streaming("n2") == ["n1", "n3"]
