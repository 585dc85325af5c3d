"""Keeping clients and services away while the database is replaced, and letting them in again."""

from __future__ import annotations

import time
from collections.abc import Callable

from blocks.backup_repository import Service
from blocks.errors import SalvorError
from tasks.backups.reach import Reach
from tasks.backups.recovering import in_place
from tasks.backups.state import RestorePlan
from tasks.waiting import each

COMMAND_SECONDS = 120.0
LOOK_SECONDS = 0.2


def hold(at: Reach, plan: RestorePlan) -> str:
    """Stop services, the last first, and cut clients off at the poolers, where they wait."""
    if plan.way != "restore" or in_place(at, plan):
        return "not needed" if plan.way != "restore" else "already done"
    said = [_told(service, service.stop, "stopped") for service in reversed(at.block.services) if service.stop]
    said += each(at.poolers, lambda name: _at_pooler(name, at.poolers[name].kill, "holds its clients")).values()
    return "; ".join(said) or "no service and no pooler: clients will see errors"


def go_on(at: Reach, plan: RestorePlan) -> str:
    """Let everybody go on as before."""
    if plan.way != "restore":
        return "nothing was held"
    return "; ".join([*_let_in(at), *_start_services(at)]) or "no service and no pooler"


def admit(at: Reach, plan: RestorePlan) -> str:
    """Lead every pooler and environment file to the node, let clients in, and start services in order."""
    if plan.way == "failover":
        return "postgres-failover has led them"
    node = at.node(plan.node)
    routes: dict[str, Callable[[str, int], str]] = {name: p.route for name, p in at.poolers.items()}
    routes |= {name: e.point_to for name, e in at.env_files.items()}

    def lead(name: str) -> str:
        try:
            return routes[name](node.host, node.port)
        except SalvorError as error:
            return f"{name} was not led over: {error}"

    said = list(each(routes, lead).values())
    return "; ".join([*said, *_let_in(at), *_start_services(at)]) or "clients find it themselves"


def ailing(at: Reach) -> tuple[tuple[str, str], ...]:
    """Ask every service once more whether it works."""
    return tuple((service.name, _health(service)) for service in at.block.services if service.healthy)


def _let_in(at: Reach) -> list[str]:
    def admit_clients(name: str) -> str:
        at.poolers[name].resume()
        at.poolers[name].enable()
        return ""

    said = each(at.poolers, lambda name: _at_pooler(name, lambda: admit_clients(name), "lets its clients in"))
    return list(said.values())


def _at_pooler(name: str, work: Callable[[], object], done: str) -> str:
    try:
        work()
    except SalvorError as error:
        return f"{name}: {error}"
    return f"{name} {done}"


def _start_services(at: Reach) -> list[str]:
    said = []
    for service in at.block.services:
        told = _told(service, service.start, "started") if service.start else ""
        said.append(told or f"{service.name} was left running")
        if service.healthy and (wrong := _await_health(service)):
            return [*said, f"{service.name} does not work: {wrong}; what depends on it was not started"]
    return said


def _told(service: Service, command: str, done: str) -> str:
    try:
        result = service.control.run(command, COMMAND_SECONDS, writes=True)
    except SalvorError as error:
        return f"{service.name}: {error}"
    return f"{service.name} {done}" if result.rc == 0 else f"{service.name} was not {done}: {result.said}"


def _await_health(service: Service) -> str:
    until = time.monotonic() + service.healthy_seconds
    while wrong := _health(service):
        if time.monotonic() > until:
            return wrong
        time.sleep(LOOK_SECONDS)
    return ""


def _health(service: Service) -> str:
    try:
        result = service.control.run(service.healthy, COMMAND_SECONDS)
    except SalvorError as error:
        return str(error)
    return "" if result.rc == 0 else result.said
