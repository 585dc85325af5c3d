from __future__ import annotations

from flows.postgres_failover import postgres_failover
from tasks.postgres.act import fence, stop_receiving
from tasks.postgres.decide import decide_failover
from tasks.postgres.policies import FailoverPolicy
from tests.flows.orders import steps, stopped_half_way
from tests.lab.processes import wait_until


def test_it_does_its_steps_in_order_and_then_finds_nothing_to_do(orders):
    """Fence before promotion, route before the siblings; a second run changes nothing."""
    orders.kill_node("n1")
    first = postgres_failover("orders", return_state=True)
    assert first.name == "Recovered", first.message
    assert steps(first) == ["fence", "stop-receiving", "promote", "route-writes", "follow"]
    assert postgres_failover("orders", return_state=True).name == "NothingToDo"
    assert orders.nodes[orders.primary()].timeline() == 2


def test_before_the_promotion_everything_is_given_back(orders):
    """A run that stands down after the fence starts the old primary again, and the standbys follow it as before."""
    orders.kill_node("n1")
    state = stopped_half_way(lambda seen: decide_failover(seen, FailoverPolicy()), fence, stop_receiving)
    assert (state.name, steps(state)[-2:]) == ("Refused", ["undo-stop-receiving", "undo-fence"])
    assert orders.primaries() == ["n1"]
    wait_until(lambda: orders.streaming("n1") == ["n2", "n3"], 20, "the standbys to follow n1 again")
