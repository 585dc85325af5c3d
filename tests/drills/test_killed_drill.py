"""The process of a run, its responder, and both, killed after every step and within every act: the job is finished.

The kills are generated from the flows. Where the run is killed, the run that goes on for it is killed together with its
responder at the same step, and of the one that goes on for that only the responder is killed there: it has to finish
alone. A few stages, each with a patient and a responder of its own, play at the same time, because most of a case is
waiting until a lease has run out; the tests look at what each case left.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import zip_longest
from threading import Event

import pytest

from flows.triggers.plane.plane import Plane
from tasks.model import Outcome
from tests.drills import saboteur
from tests.drills.program import Blow, blows, is_act, steps
from tests.drills.theatre import Case, Theatre, sweeping, understudies
from tests.drills.understudy import Understudies
from tests.drills.ward import speaking_to
from tests.lab.cluster import Lab
from tests.lab.tally import Tally

LONG = os.environ.get("SALVOR_TESTS") == "long"
pytestmark = [pytest.mark.drill, *([pytest.mark.long] if LONG else [])]
FAILOVER, REJOIN, SWITCHOVER = "postgres-failover", "postgres-rejoin", "postgres-switchover"
Fate = tuple[Blow, ...]  #: what befalls a run, the run that goes on for it, and so on


def nothing_left(blow: Blow) -> bool:
    """Whether everything is done, though perhaps not judged, when the blow falls."""
    return not any(is_act(blow.procedure, step) for step in steps(blow.procedure)[blow.number + 1 :])


def fates(procedure: str) -> list[Fate]:
    """Kill the run, the next one with its responder, and the responder of the last; apart where no next one acts."""
    found = []
    for blow in blows(procedure, "run"):
        chain = (blow, replace(blow, victim="both"), replace(blow, victim="responder"))
        lonely = procedure == REJOIN and nothing_left(blow)
        found += [(each,) for each in chain] if lonely else [chain]
    return found


def there_and_back(there: list[Fate], back: list[Fate]) -> list[tuple[str, Fate]]:
    """Kill a primary and bring it back, again and again, until every blow has fallen."""
    pairs = zip_longest(there, back, fillvalue=())
    return [act for one, other in pairs for act in ((FAILOVER, one), (REJOIN, other))]


#: A quarter of the blows in `make test`, which has twenty minutes; all of them in `make drills`.
FROM, STEP = (range(2), 2) if LONG else (range(1), 4)
STAGES: dict[str, list[tuple[str, Fate]]] = {
    f"failover and rejoin {n}": there_and_back(fates(FAILOVER)[n::STEP], fates(REJOIN)[n::STEP]) for n in FROM
} | {f"switchover {n}": [(SWITCHOVER, fate) for fate in fates(SWITCHOVER)[n::STEP]] for n in FROM}
FATES = [fate for acts in zip_longest(*STAGES.values()) for act in acts if act and (fate := act[1])]


class Matrix:
    """All stages at once; what became of each blow is awaited by its test."""

    def __init__(self) -> None:
        """Expect everything."""
        self.cases: dict[Fate, Future[Case]] = {fate: Future() for fate in FATES}
        self.closed = Event()
        self.ends: dict[str, Future[Tally]] = {stage: Future() for stage in STAGES}

    def play(self, plane: Plane, cast: Understudies, stage: str) -> None:
        """Play one stage to its end, or to the first case that leaves the patient unwell."""
        lab = Lab(fast=True, proxies=False)
        try:
            with speaking_to(plane), lab, Theatre(plane, lab, understudies=cast) as theatre:
                for procedure, fate in STAGES[stage]:
                    if self.closed.is_set():
                        return
                    case = theatre.perform(procedure, *fate)
                    if fate:
                        self.cases[fate].set_result(case)
                theatre.app.stop()
                self.ends[stage].set_result(theatre.app.summary())
        except BaseException as error:  # noqa: BLE001 - it belongs to the tests that wait for these cases
            self.ends[stage].set_exception(error)
            for _, fate in STAGES[stage]:
                if fate and not self.cases[fate].done():
                    self.cases[fate].set_exception(error)


@pytest.fixture(scope="module")
def matrix(plane: Plane) -> Iterator[Matrix]:
    """Every case, played while the tests look at those that are over."""
    matrix = Matrix()
    with speaking_to(plane), sweeping(plane), understudies(plane) as cast, ThreadPoolExecutor(len(STAGES)) as pool:
        for stage in STAGES:
            pool.submit(matrix.play, plane, cast, stage)
        yield matrix
        matrix.closed.set()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fate", FATES, ids=lambda fate: "-then-".join([str(fate[0]), *(b.victim for b in fate[1:])]))
def test_the_job_is_finished_and_no_act_is_done_twice(matrix: Matrix, fate: Fate) -> None:
    """Wherever a run, its responder or both are killed, the job is done once, and nothing is left held or running."""
    case = matrix.cases[fate].result()
    assert case.fallen == [str(blow) for blow in fate]
    assert_finished(case, fate)
    assert_once(case, fate[0].procedure)
    assert_nothing_is_held(case)


def assert_finished(case: Case, fate: Fate) -> None:
    """A run that was killed is followed by one that finishes; one that only lost its responder finishes itself."""
    *dead, last = case.runs
    assert len(dead) == sum(blow.victim != "responder" for blow in fate)
    for run, state, heir in zip(dead, case.states, case.runs[1:], strict=False):
        assert (run.outcome, run.swept_at is None, state) == (None, False, "Crashed")
        assert (heir.resumes, heir.attempt) == (run.id, run.attempt + 1)
    expected = [Outcome.RECOVERED] + [Outcome.NOTHING_TO_DO] * (bool(dead) and nothing_left(fate[0]))
    assert last.outcome in expected, last.why
    assert (last.swept_at, case.states[-1]) == (None, last.outcome)


def assert_once(case: Case, procedure: str) -> None:
    """The patient was moved one timeline, or its files once, however many runs it took."""
    moved = 0 if procedure == REJOIN else 1
    assert case.after.timeline - case.before.timeline == moved
    assert len(case.after.promotions - case.before.promotions) == moved
    assert sorted(case.scripts) == {FAILOVER: [], REJOIN: ["rewind", "start"], SWITCHOVER: ["start"]}[procedure]
    became = "done" if case.runs[-1].outcome == Outcome.RECOVERED else "abandoned"
    assert case.operations == [(became, sum(run.resource is not None for run in case.runs))]
    took_over = [act for act in case.acts if act.name == "promote" and "took over" in act.found]
    assert len(took_over) <= moved


def assert_nothing_is_held(case: Case) -> None:
    """Nobody holds the lease, Prefect waits for nothing, and clients write to the primary, whom the others follow."""
    assert case.lease is None
    assert (case.left_open, case.under_way) == ([], [])
    held = {"paused": "0", "disabled": "0"}
    assert case.after.clients == [{"host": "127.0.0.1", "port": str(case.after.port), **held}]
    dead = {case.before.primary} if case.runs[0].procedure == FAILOVER else set()
    assert set(case.after.streaming) == {"n1", "n2", "n3"} - {case.after.primary} - dead


@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", STAGES)
def test_no_row_is_lost_or_doubled(matrix: Matrix, stage: str) -> None:
    """The shop that wrote all the time finds every acknowledged order once, whatever was killed meanwhile."""
    told = matrix.ends[stage].result()
    assert told.acknowledged > 0
    assert (told.lost, told.duplicated, told.uncharged) == (0, 0, 0), told


@pytest.fixture
def theatre(plane: Plane, prefect: None) -> Iterator[Theatre]:
    """A stage for one play."""
    lab = Lab(fast=True, proxies=False)
    with lab, understudies(plane) as cast, Theatre(plane, lab, understudies=cast) as theatre:
        yield theatre


def test_clients_that_a_dead_switchover_holds_are_let_go_by_a_failover(theatre: Theatre) -> None:
    """The standbys fall behind while nobody is there to promote one: the next run refuses, and says what helps."""
    number, now = steps(SWITCHOVER).index("pause_clients"), {"min_interval_seconds": 0}
    saboteur.give(theatre.orders, theatre.target, Blow(SWITCHOVER, number, "pause_clients", "after", "run"))
    dead = theatre.ended(theatre.start(SWITCHOVER, now))
    assert (dead.outcome, [client["paused"] for client in theatre.look().clients]) == (None, ["1"])
    for name in ("n2", "n3"):
        theatre.lab.lag(name, "pause")
    with sweeping(theatre.plane):
        refused = theatre.await_outcome(Outcome.REFUSED)
    assert (refused.resumes, "postgres-failover lets them go on" in refused.why) == (dead.id, True), refused.why
    assert theatre.run(FAILOVER, now).outcome == Outcome.RECOVERED
    theatre.app.await_writes()
    assert [client["paused"] for client in theatre.look().clients] == ["0"]
