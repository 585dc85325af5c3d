"""Keeping clients and services away while the database is replaced, and letting them in again."""

from __future__ import annotations

from collections.abc import Callable

from blocks.errors import SalvorError, StandDown
from tasks.backups import serving
from tasks.backups.reach import Reach
from tasks.backups.recovering import in_place
from tasks.backups.serving import Said, words
from tasks.backups.state import RestorePlan
from tasks.report import log
from tasks.waiting import each


def hold(at: Reach, plan: RestorePlan) -> str:
    """Stop services, the last first, and cut clients off at the poolers, where they wait."""
    if plan.way != "restore" or in_place(at, plan):
        return "not needed" if plan.way != "restore" else "already done"
    said = serving.stop(at.block.services)
    said += each(at.poolers, lambda name: _at_pooler(name, at.poolers[name].kill, "holds its clients")).values()
    return words(said) or "no service and no pooler: clients will see errors"


def go_on(at: Reach, plan: RestorePlan) -> str:
    """Let everybody go on as before; raise StandDown where somebody does not, for then a person is needed.

    All of them were there before, so none waits for another that is ill; none is well while there is no database.
    """
    if plan.way != "restore":
        return "nothing was held"
    said = [*_let_in(at), *(serving.start(service, awaits=bool(plan.was_primary)) for service in at.block.services)]
    if wrong := [each for each in said if not each.well]:
        raise StandDown(f"{words(wrong)}. Look after that yourself; everybody else goes on.")
    return words(said) or "no service and no pooler"


def admit(at: Reach, plan: RestorePlan) -> str:
    """Lead every pooler and environment file to the node, let clients in, and start services in order."""
    if plan.way == "failover":
        return "postgres-failover has led them"
    node = at.node(plan.node)
    routes: dict[str, Callable[[str, int], str]] = {name: p.route for name, p in at.poolers.items()}
    routes |= {name: e.point_to for name, e in at.env_files.items()}

    def lead(name: str) -> Said:
        try:
            return Said(routes[name](node.host, node.port))
        except SalvorError as error:
            return Said(f"{name} was not led over: {error}", well=False)

    led = list(each(routes, lead).values())
    _mark(at, plan)
    return words([*led, *_let_in(at), *serving.start_in_order(at.block.services)]) or "clients find it themselves"


def _mark(at: Reach, plan: RestorePlan) -> None:
    """Let no later run that goes on with this one take it back: rows would be lost."""
    if plan.way != "restore":
        return
    try:
        at.restoring(plan.node).admit(plan.stamp)
    except SalvorError as error:  # clients have waited long enough
        log(f"  that clients are let in could not be written down: {error}", warn=True)


def _let_in(at: Reach) -> list[Said]:
    def admit_clients(name: str) -> None:
        at.poolers[name].resume()
        at.poolers[name].enable()

    said = each(at.poolers, lambda name: _at_pooler(name, lambda: admit_clients(name), "lets its clients in"))
    return list(said.values())


def _at_pooler(name: str, work: Callable[[], object], done: str) -> Said:
    try:
        work()
    except SalvorError as error:
        return Said(f"{name}: {error}", well=False)
    return Said(f"{name} {done}")
