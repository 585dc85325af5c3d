"""A repair and its undo are killed at every step, each time one further: every run that goes on finds less to do.

The kills are generated from the flows. They fall one after the other on the runs that go on for each other, so that one
repair dies as often as its policy allows; the process alone, or its responder with it. Two applications at once,
because most of a case is waiting until a lease has run out.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Self

import pytest

from blocks.ledger import runs
from blocks.ledger.records import Run
from flows.triggers.plane.plane import Plane
from tasks.model import Outcome
from tests.drills import saboteur
from tests.drills.program import ROWS, Blow, blows
from tests.drills.theatre import Theatre, sweeping, understudies
from tests.drills.understudy import Understudies
from tests.drills.ward import NUMBERS, speaking_to
from tests.flows.broken_rows import FAULTS, FOUND, Broken
from tests.ledgers import sql

pytestmark = [pytest.mark.drill, pytest.mark.long]
REPAIR, UNDO = ROWS
SECONDS = 240
POLICY = {"dry_run": False, "max_share": 1, "max_attempts": 10}


def chain(procedure: str, *wanted: str) -> list[Blow]:
    """Give the kills at the steps that are WANTED, as `moment step`, in their order; every other kills more."""
    found = [replace(blow, moment="amid") for blow in blows(procedure, "run") if blow.moment == "within"]
    every = {f"{blow.moment} {blow.step}": blow for blow in reversed([*blows(procedure, "run"), *found])}
    victims = cycle(("run", "both"))
    return [replace(every[each], victim=next(victims)) for each in wanted]  # type: ignore[arg-type]


#: The first dies with half a batch done. What is after the last act is only reached by a run that did all of it.
FIRST = chain(
    REPAIR, "amid repair_rows", "after observe_faults", "within raise_fences", "after approve", "after raise_fences",
    "within repair_rows", "after repair_rows", "within advance_sequences", "within prove_fences",
)  # fmt: skip
SECOND = chain(REPAIR, "after advance_sequences", "after prove_fences")
THIRD = chain(REPAIR, "after observe_repaired")
BACK = chain(
    UNDO, "after observe_changes", "after approve", "within unfence", "after unfence", "amid give_rows_back",
    "within give_rows_back",
)  # fmt: skip
BACK_AGAIN = chain(UNDO, "after give_rows_back")
Play = list[tuple[str, list[Blow]]]
PLAYS: dict[str, Play] = {
    "one": [(REPAIR, FIRST), (UNDO, BACK)],
    "other": [(REPAIR, SECOND), (UNDO, BACK_AGAIN), (REPAIR, THIRD), (UNDO, [])],
}


@dataclass
class Practice(Theatre):
    """An application in the place of the cluster."""

    procedures: tuple[str, ...] = ROWS
    server: str = ""

    def __post_init__(self) -> None:
        """Make its database, and save its blocks."""
        self.target = f"rows-{next(NUMBERS)}"
        self.turn_to_plane()
        name = self.target.replace("-", "_")
        sql(self.server, f"CREATE DATABASE {name}")
        self.rows = Broken(f"{self.server}{name}", self.ledger, self.target)

    def __enter__(self) -> Self:
        """Break its rows."""
        self.rows.sql(FAULTS)
        self.call_in()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.dismiss()
        sql(self.server, f"DROP DATABASE {self.target.replace('-', '_')} WITH (FORCE)")

    @property
    def resource(self) -> str:
        """What leases are about."""
        return f"recovery.consistency.{self.target}"

    def undo(self, back: list[Blow]) -> list[Run]:
        """Give back what the newest run of the repair did, and those that died before it in the same work."""
        acted = {run_id for (run_id,) in self.rows.sql("SELECT run_id FROM salvor.consistency_runs")}
        newest = next(run.id for run in runs.history(self.ledger) if run.id in acted)
        return self.befall(UNDO, {"run_id": newest, "max_attempts": 10}, *back, seconds=SECONDS)


class Stages:
    """Both plays; what became of each is awaited by its test."""

    def __init__(self) -> None:
        """Expect everything."""
        self.ends: dict[str, Future[Seen]] = {name: Future() for name in PLAYS}

    def play(self, plane: Plane, cast: Understudies, server: str, name: str) -> None:
        """Play one to its end."""
        try:
            with speaking_to(plane), Practice(plane, None, understudies=cast, server=server) as it:  # type: ignore[arg-type]
                self.ends[name].set_result(played(it, PLAYS[name]))
        except BaseException as error:  # noqa: BLE001 - it belongs to the test that waits for this play
            self.ends[name].set_exception(error)


@dataclass(frozen=True)
class Seen:
    """What was seen of a play."""

    broken: dict[str, list[str]]
    repaired: list[dict[str, list[str]]]
    undone: list[dict[str, list[str]]]
    ended: list[list[Run]]
    states: list[list[str]]
    fallen: list[str]
    accounts: list[list[tuple[str, int]]]
    doubled: int
    left: tuple[str | None, list[str]]
    under_way: list[str]


def played(it: Practice, play: Play) -> Seen:
    """Play it, and look after each act."""
    broken, ended = it.rows.rows(), []
    repaired: list[dict[str, list[str]]] = []
    undone: list[dict[str, list[str]]] = []
    accounts: list[list[tuple[str, int]]] = []
    for procedure, orders in play:
        if procedure == UNDO:
            ended.append(it.undo(orders))
            undone.append(it.rows.rows())
            continue
        it.rows.sql("DROP SCHEMA IF EXISTS salvor CASCADE")
        ended.append(it.befall(REPAIR, POLICY, *orders, seconds=SECONDS))
        repaired.append(it.rows.rows())
        done = "SELECT rule, sum(repaired + quarantined)::int FROM salvor.consistency_progress GROUP BY 1 ORDER BY 1"
        accounts.append(it.rows.sql(done))  # type: ignore[arg-type]
    doubled = "SELECT count(*) - count(DISTINCT (rule, key)) FROM salvor.consistency_changes"
    return Seen(
        broken=broken,
        repaired=repaired,
        undone=undone,
        ended=ended,
        states=[[it.state(run.flow_run_id)["name"] for run in found] for found in ended],
        fallen=saboteur.struck(it.orders, it.target),
        accounts=accounts,
        doubled=it.rows.sql(doubled)[0][0],
        left=it.held(),
        under_way=it.under_way(),
    )


@pytest.fixture(scope="module")
def stages(plane: Plane, ledger_server: str) -> Iterator[Stages]:
    """Both plays, at the same time."""
    stages = Stages()
    with speaking_to(plane), sweeping(plane), understudies(plane) as cast, ThreadPoolExecutor(len(PLAYS)) as pool:
        for name in PLAYS:
            pool.submit(stages.play, plane, cast, ledger_server, name)
        yield stages


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PLAYS)
def test_rows_are_put_right_once_and_given_back_once_wherever_it_is_killed(stages: Stages, name: str) -> None:
    """Each dead run is swept and followed by one that goes on; no row is lost or done twice; undo is exact."""
    seen = stages.ends[name].result()
    assert seen.fallen == [str(blow) for _, orders in PLAYS[name] for blow in orders]
    for found, states in zip(seen.ended, seen.states, strict=True):
        for run, state in zip(found, states, strict=True):
            assert (run.outcome is None, run.swept_at is None) == (state == "Crashed", state != "Crashed"), run
        assert found[-1].outcome in (Outcome.RECOVERED, Outcome.NOTHING_TO_DO), found[-1].why
    assert seen.accounts == [sorted(FOUND.items())] * len(seen.repaired)
    assert all(rows != seen.broken for rows in seen.repaired)
    assert seen.undone == [seen.broken] * len(seen.undone)
    assert (seen.doubled, seen.left, seen.under_way) == (0, (None, []), [])
