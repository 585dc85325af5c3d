"""Which outcome a run has earned: the whole table."""

from __future__ import annotations

import pytest

from blocks.errors import Ambiguous, LeaseLost, Misconfigured, StandDown, Transient
from tasks.model import Evidence, Outcome, Report, Step
from tasks.verdict import Course, operation_of, outcome_of, outcome_of_error, recorded, urgency_of

GOOD = Evidence(claim="n2 accepts writes", seen="1 row written", holds=True)
BAD = Evidence(claim="n1 is fenced", seen="it answers", holds=False)
BEFORE = Course(gate_passed=False)
AFTER = Course(gate_passed=True)
LOOKED = Course(gate_passed=False, looks=True)
FENCED = Course(gate_passed=True, begun=("fence",), lasting=("fence",))
UNDONE = Course(gate_passed=True, begun=("pause", "fence"))
STUCK = Course(gate_passed=True, begun=("fence",), lasting=("fence",), failed_undos=("Start n1. no route",))
REHEARSAL = Course(gate_passed=True, dry_run=True, plan_why="n1 is gone", would=("Stop n1", "Promote n2"))


@pytest.mark.parametrize(
    ("evidence", "outcome"),
    [((GOOD,), "Recovered"), ((GOOD, BAD), "Unverified"), ((BAD,), "Unverified"), ((), "Unverified")],
)
def test_a_body_that_came_to_its_end_is_judged_by_its_evidence(evidence, outcome):
    """All of it must hold, and there must be some."""
    assert outcome_of(Report(evidence=evidence), AFTER)[0] == outcome


@pytest.mark.parametrize(
    ("evidence", "outcome"),
    [((GOOD,), "NothingToDo"), ((GOOD, BAD), "Unverified"), ((), "Unverified")],
)
def test_a_procedure_that_only_looks_never_recovers(evidence, outcome):
    """What it saw holds, or not; a dry run of it is the same look."""
    assert outcome_of(Report(evidence=evidence), LOOKED)[0] == outcome
    assert outcome_of(Report(evidence=evidence), LOOKED.model_copy(update={"dry_run": True}))[0] == outcome


def test_what_was_not_seen_is_named():
    """The sentence is for the one who is woken."""
    assert outcome_of(Report(evidence=(GOOD, BAD)), AFTER)[1].endswith("n1 is fenced (seen: it answers)")
    assert outcome_of(Report(), AFTER)[1].endswith("the procedure gave no evidence")


def test_the_procedures_own_sentence_comes_first():
    """Then the plan's, then a plain one."""
    plain = Report(evidence=(GOOD,))
    course = AFTER.model_copy(update={"plan_why": "n1 is gone"})
    assert outcome_of(plain.model_copy(update={"why": "n2 took over in 1.2 s"}), course)[1] == "n2 took over in 1.2 s"
    assert outcome_of(plain, course)[1] == "n1 is gone"
    assert outcome_of(plain, AFTER)[1] == "All evidence holds."


STAND_DOWN, NOTHING = StandDown("no"), StandDown("no", outcome="NothingToDo")
UNKNOWN = [Transient("t"), Misconfigured("m"), Ambiguous("a"), LeaseLost("l"), ValueError("v")]


@pytest.mark.parametrize(
    ("errors", "course", "outcome"),
    [
        ([STAND_DOWN], BEFORE, "Refused"),
        ([NOTHING], BEFORE, "NothingToDo"),
        (UNKNOWN, BEFORE, "Refused"),
        ([STAND_DOWN], AFTER, "Refused"),
        ([NOTHING], AFTER, "NothingToDo"),
        (UNKNOWN, AFTER, "NeedsHuman"),
        ([STAND_DOWN], UNDONE, "Refused"),
        (UNKNOWN, UNDONE, "NeedsHuman"),
        ([STAND_DOWN, NOTHING, *UNKNOWN], FENCED, "NeedsHuman"),
        ([STAND_DOWN, *UNKNOWN], STUCK, "NeedsHuman"),
        ([STAND_DOWN, *UNKNOWN], REHEARSAL, "Refused"),
        ([NOTHING], REHEARSAL, "NothingToDo"),
    ],
)
def test_an_error_is_judged_by_how_far_the_run_came(errors, course, outcome):
    """Refused and NothingToDo promise that nothing was changed; past the gate anything unexpected is NeedsHuman."""
    assert {outcome_of_error(error, course)[0] for error in errors} == {outcome}


@pytest.mark.parametrize(
    ("error", "course", "said"),
    [
        (STAND_DOWN, UNDONE, "no Taken back: pause, fence."),
        (STAND_DOWN, BEFORE, "no"),
        (ValueError("v"), AFTER, "v No act was begun."),
        (ValueError("v"), FENCED, "v Begun and not taken back: fence."),
        (ValueError("v"), UNDONE, "v Taken back: pause, fence."),
        (
            STAND_DOWN,
            STUCK,
            "no Begun and not taken back: fence. Could not be taken back: Start n1. no route",
        ),
        (ValueError(), BEFORE, "ValueError"),
        (ValueError("v"), REHEARSAL, "dry run, refused: v"),
    ],
)
def test_the_sentence_says_what_stands(error, course, said):
    """What was begun, what was taken back, what could not be."""
    assert outcome_of_error(error, course)[1] == said


def test_a_dry_run_says_what_it_would_do():
    """And what the gate would say to it."""
    assert outcome_of(Report(evidence=(BAD,)), REHEARSAL) == (
        Outcome.NOTHING_TO_DO,
        "dry run: would do this: Stop n1; Promote n2.",
    )
    objected = REHEARSAL.model_copy(update={"objection": "It is held."})
    assert outcome_of(Report(), objected)[1].endswith("But the gate would not let it through now: It is held.")
    assert outcome_of(Report(), REHEARSAL.model_copy(update={"would": ()}))[1] == (
        "dry run: would do this: n1 is gone."
    )


@pytest.mark.parametrize(
    ("outcome", "operation", "urgency", "rehearsed"),
    [
        (Outcome.RECOVERED, "done", "inform", "inform"),
        (Outcome.NOTHING_TO_DO, "abandoned", None, None),
        (Outcome.REFUSED, "abandoned", "page", "inform"),
        (Outcome.UNVERIFIED, "failed", "page", "inform"),
        (Outcome.NEEDS_HUMAN, "failed", "page", "inform"),
    ],
)
def test_each_outcome_has_its_consequences(outcome, operation, urgency, rehearsed):
    """What becomes of the operation, and who is told."""
    assert operation_of(outcome) == operation
    assert urgency_of(outcome, dry_run=False) == urgency
    assert urgency_of(outcome, dry_run=True) == rehearsed


def test_only_what_was_recorded_would_be_done():
    """A dry run's timeline, without anything that was really done."""
    from datetime import UTC, datetime  # noqa: PLC0415

    at = datetime(2026, 1, 1, tzinfo=UTC)
    steps = (Step(name="a", sentence="A", started_at=at, dry=True), Step(name="b", sentence="B", started_at=at))
    assert recorded(steps) == ("A",)
