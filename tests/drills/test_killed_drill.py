"""The process of a run, its responder, and both, killed after every step and within every act: the job is finished.

The kills are generated from the flows. Several stages, each with a patient and a responder of its own, play them at the
same time, because most of a case is waiting until a lease has run out; the tests then look at what each case left.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import zip_longest
from threading import Event

import pytest

from flows.triggers.plane import Plane
from tasks.model import Outcome
from tests.drills.program import Blow, Victim, blows, is_act, steps
from tests.drills.theatre import Case, Theatre, sweeping
from tests.drills.ward import speaking_to
from tests.lab.cluster import Lab
from tests.lab.tally import Tally

pytestmark = pytest.mark.drill
Play = list[tuple[str, Blow | None]]
FAILOVER, REJOIN, SWITCHOVER = "postgres-failover", "postgres-rejoin", "postgres-switchover"


def there_and_back(victim: Victim) -> Play:
    """Kill a primary and bring it back, again and again, until every blow has fallen."""
    pairs = zip_longest(blows(FAILOVER, victim), blows(REJOIN, victim))
    return [act for there, back in pairs for act in ((FAILOVER, there), (REJOIN, back))]


def handed_over(victim: Victim) -> Play:
    """Hand over and hand over, until every blow has fallen."""
    return [(SWITCHOVER, blow) for blow in blows(SWITCHOVER, victim)]


STAGES: dict[str, Play] = {
    "failover and rejoin, the run dies": there_and_back("run"),
    "failover and rejoin, both die": there_and_back("both"),
    "switchover, the run dies": handed_over("run"),
    "switchover, both die": handed_over("both"),
    "everything, the responder dies": there_and_back("responder") + handed_over("responder"),
}
BLOWS = [blow for acts in zip_longest(*STAGES.values()) for act in acts if act and (blow := act[1])]


class Matrix:
    """All stages at once; what became of each blow is awaited by its test."""

    def __init__(self) -> None:
        """Expect everything."""
        self.cases: dict[Blow, Future[Case]] = {blow: Future() for blow in BLOWS}
        self.closed = Event()
        self.ends: dict[str, Future[Tally]] = {stage: Future() for stage in STAGES}

    def play(self, plane: Plane, stage: str) -> None:
        """Play one stage to its end, or to the first case that leaves the patient unwell."""
        try:
            with speaking_to(plane), Lab(fast=True) as lab, Theatre(plane, lab) as theatre:
                for procedure, blow in STAGES[stage]:
                    if self.closed.is_set():
                        return
                    case = theatre.perform(procedure, blow)
                    if blow:
                        self.cases[blow].set_result(case)
                theatre.app.stop()
                self.ends[stage].set_result(theatre.app.summary())
        except BaseException as error:  # noqa: BLE001 - it belongs to the tests that wait for these cases
            self.ends[stage].set_exception(error)
            for _, blow in STAGES[stage]:
                if blow and not self.cases[blow].done():
                    self.cases[blow].set_exception(error)


@pytest.fixture(scope="module")
def matrix(plane: Plane) -> Iterator[Matrix]:
    """Every case, played while the tests look at those that are over."""
    matrix = Matrix()
    with ThreadPoolExecutor(len(STAGES)) as pool, speaking_to(plane), sweeping(plane):
        for stage in STAGES:
            pool.submit(matrix.play, plane, stage)
        yield matrix
        matrix.closed.set()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("blow", BLOWS, ids=str)
def test_the_job_is_finished_and_no_act_is_done_twice(matrix: Matrix, blow: Blow) -> None:
    """Wherever a run, its responder or both are killed, the job is done once, and nothing is left held or running."""
    case = matrix.cases[blow].result()
    assert case.fallen
    assert_finished(case, blow)
    assert_once(case, blow)
    assert_nothing_is_held(case)


def assert_finished(case: Case, blow: Blow) -> None:
    """A run that was killed is followed by one that finishes; one that lost its responder finishes itself."""
    last = case.runs[-1]
    if blow.victim == "responder":
        assert [(run.outcome, run.swept_at) for run in case.runs] == [(Outcome.RECOVERED, None)], case
    else:
        first, second = case.runs
        assert (first.outcome, first.swept_at is None) == (None, False), case
        assert (second.resumes, second.attempt) == (first.id, 2)
        assert last.outcome == Outcome.RECOVERED or (last.outcome == Outcome.NOTHING_TO_DO and all_done(blow)), last.why
        assert case.states[0] == "Crashed"
    assert case.states[-1] == last.outcome


def all_done(blow: Blow) -> bool:
    """Whether everything was done, though perhaps not judged, when the blow fell."""
    return not any(is_act(blow.procedure, step) for step in steps(blow.procedure)[blow.number + 1 :])


def assert_once(case: Case, blow: Blow) -> None:
    """The patient was moved one timeline, or its files once, however many runs it took."""
    moved = 0 if blow.procedure == REJOIN else 1
    assert case.after.timeline - case.before.timeline == moved
    assert len(case.after.promotions - case.before.promotions) == moved
    assert sorted(case.scripts) == {FAILOVER: [], REJOIN: ["rewind", "start"], SWITCHOVER: ["start"]}[blow.procedure]
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
