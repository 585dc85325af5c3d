"""Starting and stopping what uses a database, and asking it whether it works."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from typing import NamedTuple

from blocks.errors import SalvorError
from blocks.service import Service

COMMAND_SECONDS = 120.0
LOOK_SECONDS = 0.2
BETWEEN = "; "  #: the sentences of one act


class Said(NamedTuple):
    """What was done to a service or a pooler, and whether it went well."""

    text: str
    well: bool = True


def words(said: Sequence[Said]) -> str:
    """Put it into one line."""
    return BETWEEN.join(each.text for each in said)


def facing(services: Sequence[Service], host: str, port: int) -> list[Service]:
    """Let the commands of SERVICES find the server at HOST and PORT, as every client of PostgreSQL does."""

    def turned(command: str) -> str:
        return f"export PGHOST={shlex.quote(host)} PGPORT={port}; {command}" if command else ""

    commands = ("stop", "start", "healthy")
    return [each.model_copy(update={name: turned(getattr(each, name)) for name in commands}) for each in services]


def stop(services: Sequence[Service]) -> list[Said]:
    """Stop them, the last first."""
    return [_told(service, service.stop, "stopped") for service in reversed(services) if service.stop]


def start_in_order(services: Sequence[Service]) -> list[Said]:
    """Start one after the other; what comes after one that is ill depends on it, and is not started."""
    said, ill = [], ""
    for service in services:
        if ill and service.start:
            why = f"{ill} does not work: mend that, then start {service.name} yourself"
            said.append(Said(f"{service.name} was not started, because {why}", well=False))
            continue
        said.append(start(service, awaits=not ill))
        ill = ill or ("" if said[-1].well else service.name)
    return said


def start(service: Service, *, awaits: bool) -> Said:
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


def ailing(services: Sequence[Service], started: str) -> tuple[tuple[str, str], ...]:
    """Ask each once more whether it works; STARTED, what was said when they were, tells which did not start."""
    told = started.split(BETWEEN)
    notes = {each.name: text for each in services for text in told if text.startswith(f"{each.name} was not ")}
    found = []
    for service in services:
        note = notes.get(service.name, "")
        wrong = _health(service) if service.healthy else note
        if service.healthy or note:
            found.append((service.name, (note or wrong) if wrong else ""))
    return tuple(found)


def mute(services: Sequence[Service]) -> tuple[str, ...]:
    """Name those that are started and cannot say whether they work."""
    return tuple(each.name for each in services if each.start and not each.healthy)
