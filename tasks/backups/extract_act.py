"""What is done to bring tables back beside those that are there."""

from __future__ import annotations

from tasks.backups import beside
from tasks.backups.extract_state import ExtractPlan, Left
from tasks.backups.reach import Reach
from tasks.effects import act


def leave_apart(_at: Reach, _plan: ExtractPlan) -> str:
    """Leave the tables as they stand in the copy: it is removed as a whole."""
    return "nothing to take back"


@act("Set {plan.labels} apart in the copy, without what reaches beyond them.", undo=leave_apart)
def set_apart(at: Reach, plan: ExtractPlan) -> str:
    """Give the tables the schema that they are to have; drop triggers, foreign keys, rules and policies."""
    return beside.set_apart(at, plan)


def drop_copies(at: Reach, plan: ExtractPlan) -> str:
    """Drop the schema of the copies, if it was made by this run."""
    beside.end_pouring(at, plan)
    return beside.drop(at, plan, Left(schema_name=plan.into, mark=plan.mark)) or "it is not there"


@act("Copy them into the schema {plan.into} of {plan.database} on {plan.onto}, in one transaction.", undo=drop_copies)
def copy_beside(at: Reach, plan: ExtractPlan) -> str:
    """Load data, keys and indexes; what a run that died has left is removed first."""
    return beside.carry(at, plan)
