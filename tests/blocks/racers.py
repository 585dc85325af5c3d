"""What many processes do to one ledger at once."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable
from typing import Any

from blocks.errors import LeaseLost, StandDown
from blocks.ledger import claims, gate, orphans, outbox, positions, runs, steps
from blocks.ledger.block import Ledger
from blocks.ledger.records import Ending, Position
from tests.ledgers import intent, new_run, silence, step

# Forked, because a fresh interpreter spends two seconds on imports; the ledger gives each child its own connections.
FORK = multiprocessing.get_context("fork")


def race(work: Callable[..., Any], ledger: Ledger, count: int, *arguments: Any) -> list[Any]:
    """Let COUNT processes do WORK at the same moment; return what each of them says."""
    start, said = FORK.Barrier(count), FORK.SimpleQueue()

    def run(number: int) -> None:
        try:
            said.put((number, work(ledger, str(number), lambda: start.wait(30), *arguments)))
        except BaseException as error:
            said.put((number, error))
            raise

    racers = [FORK.Process(target=run, args=(number,)) for number in range(count)]
    for racer in racers:
        racer.start()
    heard = dict(said.get() for _ in racers)
    for racer in racers:
        racer.join(30)
    assert [racer.exitcode for racer in racers] == [0] * count, heard
    return [heard[number] for number in range(count)]


def claim(ledger: Ledger, number: str, ready: Callable[[], object], turn: int) -> str:
    """Claim the one target with a run of one's own."""
    run = new_run(ledger, flow_run_id=f"run-{number}-{turn}")
    ready()
    try:
        return f"token {gate.claim(ledger, run.id, intent(f'k{number}', min_interval_seconds=0)).token}"
    except StandDown as error:
        return error.outcome


def event(ledger: Ledger, number: str, ready: Callable[[], object]) -> list[bool]:
    """Claim thirty events."""
    ready()
    return [claims.claim_event(ledger, f"event-{each}", by=number) for each in range(30)]


def parcels(ledger: Ledger, _number: str, ready: Callable[[], object]) -> list[str]:
    """Take up parcels until there are none."""
    ready()
    taken: list[str] = []
    while got := outbox.due(ledger, limit=3):
        taken += [parcel.key for parcel in got]
        for parcel in got:
            outbox.sent(ledger, parcel.id)
    return taken


def sweep(ledger: Ledger, _number: str, ready: Callable[[], object]) -> list[str]:
    """Sweep."""
    ready()
    return [run.id for run in orphans.sweep(ledger)]


def write(ledger: Ledger, number: str, ready: Callable[[], object]) -> int:
    """Write as often as a busy control plane does in a minute."""
    ready()
    run = new_run(ledger, flow_run_id=f"writer-{number}")
    for each in range(60):
        outbox.put(ledger, "event", f"{number}-{each}", {})
        runs.renew(ledger, run.id)
        record = Position(resource="r", node=number, lsn=each, timeline=1, at=run.started_at)
        positions.record(ledger, record)
    return 60


def upgrade(ledger: Ledger, _number: str, ready: Callable[[], object]) -> bool:
    """Create the tables."""
    ready()
    ledger.upgrade()
    return True


def live(ledger: Ledger, number: str, ready: Callable[[], object], seconds: float) -> list[str]:
    """Run procedures that act, end, die, or are declared dead while they act; say what was refused."""
    ready()
    give_up, said, turn = time.monotonic() + seconds, [], 0
    rng = random.Random(number)
    while time.monotonic() < give_up:
        turn += 1
        said.append(_life(ledger, f"{number}-{turn}", rng))
    return said


def _life(ledger: Ledger, name: str, rng: random.Random) -> str:
    run = new_run(ledger, flow_run_id=name)
    try:
        token = gate.claim(ledger, run.id, intent(name, min_interval_seconds=0)).token
        for each in range(3):
            it = step(run.id, f"{token:06}-{each}")
            steps.begin_step(ledger, run.id, token, it)
            if rng.random() < 0.2:
                silence(ledger, run.id)  # it looks dead from now on, but goes on: the zombie
            orphans.sweep(ledger)
            steps.end_step(ledger, it.id)
    except StandDown:
        runs.close(ledger, run.id, Ending(outcome="NothingToDo", why=""))
        return "stood down"
    except LeaseLost:
        return "lost"
    ended = runs.close(ledger, run.id, Ending(outcome="Recovered", why="", operation="done"))
    return "recovered" if ended else "declared dead"
