"""A backup, a disaster recovery, a restore, a drill and an extract are killed, each time one step further.

The kills fall one after the other on the runs that go on for each other; the process alone, or its responder with it.
Two clusters at once, because most of a case is waiting until a lease has run out.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Self

import pytest

from blocks.ledger.records import Run
from flows.triggers.plane.plane import Plane
from tasks.model import Outcome
from tests.drills import saboteur
from tests.drills.program import BACKUPS, Blow, blows
from tests.drills.theatre import Theatre, sweeping, understudies
from tests.drills.understudy import Understudies
from tests.drills.ward import speaking_to
from tests.lab.cluster import Lab

pytestmark = [pytest.mark.drill, pytest.mark.long]
TAKE, RESTORE, DRILL, DISASTER, EXTRACT = BACKUPS
SECONDS = 300
POLICY = {"max_attempts": 10, "approval": "auto"}


def chain(procedure: str, *wanted: str) -> list[Blow]:
    """Give the kills at the steps that are WANTED, as `moment step`, in their order; every other kills more."""
    every = {f"{blow.moment} {blow.step}": blow for blow in reversed(blows(procedure, "run"))}
    victims = cycle(("run", "both"))
    return [replace(every[each], victim=next(victims)) for each in wanted]  # type: ignore[arg-type]


Play = list[tuple[str, dict[str, object], list[Blow]]]
PLAYS: dict[str, Play] = {
    "lost": [
        (TAKE, {}, chain(TAKE, "within stream_wal", "within take_set", "after take_set", "within expire_sets")),
        (DISASTER, {"way": "restore"}, chain(
            DISASTER, "within stop_services", "within stop_nodes", "within fetch_set", "after fetch_set",
            "within put_in_place", "within recover", "within admit", "within reconcile", "within protect",
        )),
    ],
    "spoilt": [
        (TAKE, {}, []),
        (RESTORE, {"target": "name", "to": "good"}, chain(
            RESTORE, "within fetch_set", "within stop_nodes", "after put_in_place", "after recover", "after admit",
            "after protect",
        )),
        (DRILL, {}, chain(DRILL, "within fetch_into_scratch", "within recover_copy", "within clear_scratch")),
        (EXTRACT, {"tables": ["public.orders"], "into_schema": "rescue"}, chain(
            EXTRACT, "within set_apart", "within copy_beside", "within clear_scratch",
        )),
    ],
}  # fmt: skip


@dataclass
class Vault(Theatre):
    """A cluster of one node, with its repository."""

    procedures: tuple[str, ...] = BACKUPS

    def __enter__(self) -> Self:
        """Open it, without a shop."""
        self.call_in()
        self.record()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.dismiss()


@dataclass(frozen=True)
class Seen:
    """What was seen of a play."""

    ended: list[list[Run]]
    states: list[list[str]]
    fallen: list[str]
    rows: list[tuple[str, int]]
    parts: list[str]
    scratch: list[str]
    beside: list[tuple[str, int]]  #: schemas that hold copies of tables, and how many rows
    frozen: bool
    held: tuple[str | None, list[str]]
    under_way: list[str]


def played(it: Vault, play: Play) -> Seen:
    """Play it, and look at what is left."""
    lab, ended = it.lab, []
    for procedure, policy, orders in play:
        if procedure == DISASTER:
            it.record()
            lab.destroy("n1")
        ended.append(it.befall(procedure, POLICY | policy, *orders, seconds=SECONDS))
        if procedure == TAKE:
            lab.psql("n1", "INSERT INTO orders SELECT 'before', g, 1 FROM generate_series(1, 100) g", "orders")
            lab.psql("n1", "SELECT pg_create_restore_point('good')")
            lab.psql("n1", "INSERT INTO orders SELECT 'after', g, 1 FROM generate_series(1, 100) g", "orders")
            lab.await_archived()
    repository = lab.vault / "repository"
    return Seen(
        ended=ended,
        states=[[it.state(run.flow_run_id)["name"] for run in found] for found in ended],
        fallen=saboteur.struck(it.orders, it.target),
        rows=lab.psql("n1", "SELECT client, count(*) FROM orders GROUP BY 1 ORDER BY 1 DESC", "orders"),  # type: ignore[arg-type]
        parts=[path.name for path in (repository / "sets").glob(".*")],
        scratch=[path.name for path in (lab.vault / "scratch").glob("*")],
        beside=beside(lab),
        frozen=(repository / "frozen").exists() or any(repository.glob("sets/*/in-use/*")),
        held=it.held(),
        under_way=it.under_way(),
    )


def beside(lab: Lab) -> list[tuple[str, int]]:
    found = lab.psql("n1", "SELECT nspname FROM pg_namespace WHERE obj_description(oid) ~ 'Salvor'", "orders")
    return [(name, lab.psql("n1", f"SELECT count(*) FROM {name}.orders", "orders")[0][0]) for (name,) in found]


class Stages:
    """Both plays; what became of each is awaited by its test."""

    def __init__(self) -> None:
        """Expect everything."""
        self.ends: dict[str, Future[Seen]] = {name: Future() for name in PLAYS}

    def play(self, plane: Plane, cast: Understudies, name: str) -> None:
        """Play one to its end."""
        lab = Lab(nodes=1, fast=True, proxies=False, sync=False)
        try:
            with speaking_to(plane), lab, Vault(plane, lab, understudies=cast) as it:
                self.ends[name].set_result(played(it, PLAYS[name]))
        except BaseException as error:  # noqa: BLE001 - it belongs to the test that waits for this play
            self.ends[name].set_exception(error)


@pytest.fixture(scope="module")
def stages(plane: Plane) -> Iterator[Stages]:
    """Both plays, at the same time."""
    stages = Stages()
    with speaking_to(plane), sweeping(plane), understudies(plane) as cast, ThreadPoolExecutor(len(PLAYS)) as pool:
        for name in PLAYS:
            pool.submit(stages.play, plane, cast, name)
        yield stages


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PLAYS)
def test_the_job_is_finished_wherever_it_is_killed(stages: Stages, name: str) -> None:
    """Each dead run is swept and followed by one that goes on; the rows are right, and nothing half done is left."""
    seen = stages.ends[name].result()
    assert seen.fallen == [str(blow) for _, _, orders in PLAYS[name] for blow in orders]
    for found, states in zip(seen.ended, seen.states, strict=True):
        for run, state in zip(found, states, strict=True):
            assert (run.outcome is None, run.swept_at is None) == (state == "Crashed", state != "Crashed"), run
        assert found[-1].outcome in (Outcome.RECOVERED, Outcome.NOTHING_TO_DO), found[-1].why
    assert seen.rows == {"lost": [("before", 100), ("after", 100)], "spoilt": [("before", 100)]}[name]
    assert seen.beside == {"lost": [], "spoilt": [("rescue", 100)]}[name]
    assert (seen.parts, seen.scratch, seen.frozen) == ([], [], False)
    assert (seen.held, seen.under_way) == ((None, []), [])
