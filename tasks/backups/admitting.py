"""Keeping clients and services away while the database is replaced, and letting them in again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from blocks.backup_repository import Service
from blocks.errors import SalvorError, StandDown
from tasks.backups.reach import Reach
from tasks.backups.recovering import in_place
from tasks.backups.state import RestorePlan
from tasks.report import log
from tasks.waiting import each

COMMAND_SECONDS = 120.0
LOOK_SECONDS = 0.2
BETWEEN = "; "  #: the sentences of one act


class Said(NamedTuple):
    """What was done to a service or a pooler, and whether it went well."""

    text: str
    well: bool = True


def hold(at: Reach, plan: RestorePlan) -> str:
    """Stop services, the last first, and cut clients off at the poolers, where they wait."""
    if plan.way != "restore" or in_place(at, plan):
        return "not needed" if plan.way != "restore" else "already done"
    said = [_told(service, service.stop, "stopped") for service in reversed(at.block.services) if service.stop]
    said += each(at.poolers, lambda name: _at_pooler(name, at.poolers[name].kill, "holds its clients")).values()
    return _words(said) or "no service and no pooler: clients will see errors"


def go_on(at: Reach, plan: RestorePlan) -> str:
    """Let everybody go on as before; raise StandDown where somebody does not, for then a person is needed.

    All of them were there before, so none waits for another that is ill; none is well while there is no database.
    """
    if plan.way != "restore":
        return "nothing was held"
    said = [*_let_in(at), *(_start(service, awaits=bool(plan.was_primary)) for service in at.block.services)]
    if wrong := [each for each in said if not each.well]:
        raise StandDown(f"{_words(wrong)}. Look after that yourself; everybody else goes on.")
    return _words(said) or "no service and no pooler"


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
    return _words([*led, *_let_in(at), *_start_in_order(at)]) or "clients find it themselves"


def _mark(at: Reach, plan: RestorePlan) -> None:
    """Let no later run that goes on with this one take it back: rows would be lost."""
    if plan.way != "restore":
        return
    try:
        at.restoring(plan.node).admit(plan.stamp)
    except SalvorError as error:  # clients have waited long enough
        log(f"  that clients are let in could not be written down: {error}", warn=True)


def ailing(at: Reach, admitted: str) -> tuple[tuple[str, str], ...]:
    """Ask every service once more whether it works; ADMITTED, what `admit` has said, tells which did not start."""
    services, told = at.block.services, admitted.split(BETWEEN)
    notes = {each.name: text for each in services for text in told if text.startswith(f"{each.name} was not ")}
    found = []
    for service in services:
        note = notes.get(service.name, "")
        wrong = _health(service) if service.healthy else note
        if service.healthy or note:
            found.append((service.name, (note or wrong) if wrong else ""))
    return tuple(found)


def mute(at: Reach) -> tuple[str, ...]:
    """Name the services that are started and cannot say whether they work."""
    return tuple(each.name for each in at.block.services if each.start and not each.healthy)


def _words(said: list[Said]) -> str:
    return BETWEEN.join(each.text for each in said)


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


def _start_in_order(at: Reach) -> list[Said]:
    """Start one after the other; what comes after one that is ill depends on it, and is not started."""
    said, ill = [], ""
    for service in at.block.services:
        if ill and service.start:
            why = f"{ill} does not work: mend that, then start {service.name} yourself"
            said.append(Said(f"{service.name} was not started, because {why}", well=False))
            continue
        said.append(_start(service, awaits=not ill))
        ill = ill or ("" if said[-1].well else service.name)
    return said


def _start(service: Service, *, awaits: bool) -> Said:
    """Start it; AWAITS: until it says that it works, which counts for more than what its start said."""
    told = _told(service, service.start, "started") if service.start else Said(f"{service.name} was left running")
    if not (awaits and service.healthy):
        return told
    wrong = _await_health(service, service.healthy_seconds if told.well else 0)
    if wrong and told.well:
        return Said(f"{service.name} does not work: {wrong}", well=False)
    return told._replace(well=not wrong)


def _told(service: Service, command: str, done: str) -> Said:
    try:
        result = service.control.run(command, COMMAND_SECONDS, writes=True)
    except SalvorError as error:
        return Said(f"{service.name} was not surely {done}: {error}", well=False)
    if result.rc != 0:
        return Said(f"{service.name} was not {done}: {result.said}", well=False)
    return Said(f"{service.name} {done}")


def _await_health(service: Service, seconds: float) -> str:
    until = time.monotonic() + seconds
    while wrong := _health(service):
        if time.monotonic() > until:
            return wrong
        time.sleep(LOOK_SECONDS)
    return ""


def _health(service: Service) -> str:
    try:
        result = service.control.run(service.healthy, service.healthy_seconds)
    except SalvorError as error:
        return str(error)
    return "" if result.rc == 0 else result.said
