"""Which of the five outcomes a run has earned. Pure."""

from __future__ import annotations

from typing import Literal

from blocks.errors import StandDown
from tasks.model import Evidence, Frozen, Outcome, Report, Step


class Course(Frozen):
    """How far the run came."""

    gate_passed: bool
    looks: bool = False  #: nothing was to be changed
    dry_run: bool = False
    begun: tuple[str, ...] = ()  #: acts that were begun
    lasting: tuple[str, ...] = ()  #: those of them that were not taken back
    failed_undos: tuple[str, ...] = ()
    plan_why: str = ""
    objection: str = ""  #: dry run: what the gate would have said
    would: tuple[str, ...] = ()  #: dry run: the sentences of the acts that were recorded


def outcome_of(report: Report, course: Course) -> tuple[Outcome, str]:
    """Judge a run whose body came to its end."""
    if course.looks:
        return _looked(report)
    if course.dry_run:
        return Outcome.NOTHING_TO_DO, _would(course)
    if report.holds:
        done = report.plan.why if report.plan else course.plan_why
        return Outcome.RECOVERED, report.why or done or "All evidence holds."
    missing = [_seen(e) for e in report.evidence if not e.holds] or ["the procedure gave no evidence"]
    return Outcome.UNVERIFIED, "It was done, but not all of it was seen: " + "; ".join(missing)


def _looked(report: Report) -> tuple[Outcome, str]:
    if report.holds:
        return Outcome.NOTHING_TO_DO, report.why or "Everything that was looked at holds."
    missing = "; ".join(_seen(e) for e in report.evidence if not e.holds) or "the procedure gave no evidence"
    return Outcome.UNVERIFIED, report.why or f"Not everything holds: {missing}"


def _seen(evidence: Evidence) -> str:
    return f"{evidence.claim} (seen: {evidence.seen})"


def _would(course: Course) -> str:
    acts = "; ".join(course.would) or course.plan_why
    but = f" But the gate would not let it through now: {course.objection}" if course.objection else ""
    return f"dry run: would do this: {acts}.{but}"


def outcome_of_error(error: Exception, course: Course) -> tuple[Outcome, str]:
    """Judge a run that was ended by ERROR."""
    said = str(error) or type(error).__name__
    if isinstance(error, StandDown) and not course.lasting and not course.failed_undos:
        taken_back = f" Taken back: {', '.join(course.begun)}." if course.begun else ""
        return Outcome(error.outcome), said + taken_back
    if course.dry_run:
        return Outcome.REFUSED, f"dry run, refused: {said}"
    if not course.gate_passed:
        return Outcome.REFUSED, said
    return Outcome.NEEDS_HUMAN, said + _rest(course)


def _rest(course: Course) -> str:
    parts = []
    if not course.begun:
        parts.append("No act was begun.")
    if course.lasting:
        parts.append(f"Begun and not taken back: {', '.join(course.lasting)}.")
    if back := [name for name in course.begun if name not in course.lasting]:
        parts.append(f"Taken back: {', '.join(back)}.")
    parts += [f"Could not be taken back: {each}" for each in course.failed_undos]
    return " " + " ".join(parts) if parts else ""


def operation_of(outcome: Outcome) -> Literal["done", "failed", "abandoned"]:
    """Say what becomes of the operation that the run had opened."""
    if outcome is Outcome.RECOVERED:
        return "done"
    return "failed" if outcome in (Outcome.UNVERIFIED, Outcome.NEEDS_HUMAN) else "abandoned"


def urgency_of(outcome: Outcome, *, dry_run: bool) -> Literal["page", "inform"] | None:
    """Say whether somebody is woken, told, or left alone. DRY_RUN: nothing was to be changed."""
    if outcome is Outcome.NOTHING_TO_DO:
        return None
    return "inform" if outcome is Outcome.RECOVERED or dry_run else "page"


def recorded(timeline: tuple[Step, ...]) -> tuple[str, ...]:
    """List what a dry run would have done."""
    return tuple(step.sentence for step in timeline if step.dry)
