"""Holding clients at the poolers, leading them to another node, and letting them go on."""

from __future__ import annotations

from collections.abc import Callable

from blocks.errors import SalvorError, StandDown
from blocks.pgbouncer import PgBouncer
from tasks.postgres.reach import Reach
from tasks.postgres.state import FailoverPlan, MovePlan, SwitchoverPlan
from tasks.waiting import each


def pause(at: Reach, plan: SwitchoverPlan) -> str:
    """Hold clients at the poolers until their running transactions have ended; all poolers, or none."""
    try:
        each(at.poolers, lambda name: at.poolers[name].pause(plan.pause_seconds))
    except SalvorError as error:
        # A PAUSE that timed out goes on waiting inside PgBouncer and holds every new client meanwhile.
        resume(at, plan)
        raise StandDown(f"Clients could not be held ({error}) They go on with {plan.old_primary}.") from error
    return f"clients wait at {', '.join(at.poolers)}" if at.poolers else "no pooler: clients will see errors"


def resume(at: Reach, _plan: SwitchoverPlan) -> str:
    """Let clients go on."""
    each(at.poolers, lambda name: at.poolers[name].resume())
    return f"clients go on at {', '.join(at.poolers)}" if at.poolers else "no pooler"


def route(at: Reach, plan: MovePlan) -> str:
    """Lead every pooler and environment file to the new primary; one that does not answer never stops the others."""
    node = at.node(plan.candidate)
    routes: dict[str, Callable[[str, int], str]] = {name: p.route for name, p in at.poolers.items()}
    routes |= {name: e.point_to for name, e in at.env_files.items()}
    stuck = isinstance(plan, FailoverPlan) and leaves_connections(plan)

    def lead(name: str) -> str:
        try:
            said = routes[name](node.host, node.port)
            if isinstance(plan, FailoverPlan) and name in at.poolers:
                admit(at.poolers[name], stuck=stuck)
        except SalvorError as error:
            said = f"{name} was not led over: {error}"
        return said

    return "; ".join(each(routes, lead).values()) or "no pooler and no environment file: clients find it themselves"


def leaves_connections(plan: FailoverPlan) -> bool:
    """Whether clients hang on the old primary: nothing ends their connections to a host that nobody reaches."""
    return bool(plan.fences or plan.ask) and (plan.old_primary, "process") not in plan.fences


def admit(pooler: PgBouncer, *, stuck: bool) -> None:
    """Let clients in again, whatever held them; those that are STUCK on the old primary are cut off from it first."""
    if stuck:
        pooler.kill()
    pooler.resume()
    pooler.enable()
