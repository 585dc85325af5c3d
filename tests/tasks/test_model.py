from __future__ import annotations

import json
from hashlib import sha256

import pytest
from pydantic import ValidationError

from blocks.errors import Ambiguous, LeaseLost, Misconfigured, SalvorError, StandDown, Transient
from tasks.model import Decision, Evidence, Outcome, Plan, Policy, Report

PLAN = Plan(resource="recovery.x.y", key="k", why="because", loss="nothing")


def test_an_error_without_words_says_what_its_class_means():
    """The docstring of an error is its default message."""
    assert "asking again is safe" in str(Transient())
    assert str(Ambiguous("it hung")) == "it hung"


def test_error_codes_are_never_used_twice():
    """A code in a log names one condition, for ever."""
    codes = [e.code for e in (SalvorError, Transient, Misconfigured, StandDown, LeaseLost, Ambiguous)]
    assert codes == [1, 10, 20, 30, 31, 40]


def test_standing_down_is_a_refusal_unless_there_was_nothing_to_do():
    """The outcome travels with the error."""
    assert StandDown("no").outcome == "Refused"
    assert StandDown("done", outcome="NothingToDo").outcome == "NothingToDo"


def test_two_outcomes_are_successes():
    """Everything else calls somebody."""
    assert {o for o in Outcome if o.succeeded} == {Outcome.RECOVERED, Outcome.NOTHING_TO_DO}


def test_a_plan_is_known_by_what_it_would_do():
    """Words may differ between two looks; the target and the key may not."""
    assert PLAN.digest == PLAN.model_copy(update={"why": "other words", "ask": "please"}).digest
    assert PLAN.digest != PLAN.model_copy(update={"key": "other"}).digest


def test_a_decision_carries_a_plan_only_when_it_says_go():
    """A refusal cannot be executed."""
    assert Decision[Plan].go(PLAN).plan == PLAN
    assert Decision[Plan].nothing("fine").plan is None
    assert Decision[Plan].refuse("no").verdict == "refuse"


def test_a_report_without_evidence_proves_nothing():
    """Only evidence that is there and holds makes a recovery."""
    good = Evidence(claim="a", seen="b", holds=True)
    assert not Report().holds
    assert Report(evidence=(good,)).holds
    assert not Report(evidence=(good, good.model_copy(update={"holds": False}))).holds


def test_a_policy_out_of_range_is_not_accepted():
    """The form's limits are the model's."""
    with pytest.raises(ValidationError):
        Policy(approval_seconds=0)
    with pytest.raises(ValidationError):
        Policy(unknown=1)


def test_a_report_is_sealed() -> None:
    """Whoever recomputes the hash from the JSON in the ledger gets the one in the report; any change gives another."""
    report = Report(why="It was done.", evidence=(Evidence(claim="It writes.", seen="yes", holds=True),))
    kept = json.loads(json.dumps(report.model_dump(mode="json")))
    assert Report.model_validate(kept).seal == report.seal
    assert sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest() == report.seal
    assert report.model_copy(update={"why": "It was done!"}).seal != report.seal
