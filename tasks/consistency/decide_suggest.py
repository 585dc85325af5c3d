"""Which rules are proposed, and which are not. Pure."""

from __future__ import annotations

from blocks.rules import Orphan, Sequence
from tasks.consistency.suggest_state import Counter, Passed, Sampled, Survey
from tasks.model import Evidence, Frozen

_FIRST = {"sure": 0, "likely": 1, "perhaps": 2}


class Proposed(Frozen):
    """A rule, and what speaks for it."""

    rule: Orphan | Sequence
    why: str
    missing: int = 0  #: rows of the sample that break it


class Proposal(Frozen):
    """What a person may paste into a rule pack."""

    target: str
    rules: tuple[Proposed, ...] = ()
    left: tuple[Passed, ...] = ()

    @property
    def broken(self) -> tuple[Proposed, ...]:
        """Rules that rows break already."""
        return tuple(each for each in self.rules if each.missing)


def artifact_of(target: str) -> str:
    """Name the artifact in which the rules are."""
    return f"consistency-{target}-suggestion"


def decide_proposal(seen: Survey, most_missing_percent: float) -> Proposal:
    """Propose what the rows do not speak against: what is broken already first, then what is surest."""
    orphans = sorted((each for each in seen.sampled if _kept(each, most_missing_percent)), key=_order)
    left = [_left(each) for each in seen.sampled if not _kept(each, most_missing_percent)]
    return Proposal(
        target=seen.target,
        rules=(*map(_orphan, orphans), *map(_sequence, seen.counters)),
        left=(*left, *seen.passed),
    )


def _kept(sampled: Sampled, most_missing_percent: float) -> bool:
    return sampled.share * 100 <= most_missing_percent


def _order(sampled: Sampled) -> tuple[bool, int, str, tuple[str, ...]]:
    guess = sampled.guess
    return not sampled.missing, _FIRST[guess.sure], guess.table, guess.columns


def _orphan(sampled: Sampled) -> Proposed:
    guess = sampled.guess
    rule = Orphan(
        name=f"{guess.table} whose {' and '.join(guess.columns)} is not in {guess.parent}",
        table=guess.table,
        columns=guess.columns,
        parent=guess.parent,
        parent_columns=guess.parent_columns,
    )
    return Proposed(rule=rule, why=f"{guess.sure}: {guess.why}; {of_sample(sampled)}", missing=sampled.missing)


def of_sample(sampled: Sampled) -> str:
    """Say what the rows say."""
    if sampled.problem:
        return f"no row was looked at: {sampled.problem}"
    if not sampled.looked_at:
        return "no row that was looked at has a value"
    if not sampled.missing:
        return f"all of {sampled.looked_at:,} rows that were looked at point to one"
    return (
        f"{sampled.missing:,} of {sampled.looked_at:,} rows that were looked at point to nothing ({_percent(sampled)})"
    )


def _percent(sampled: Sampled) -> str:
    return f"{sampled.share:.2%}" if sampled.share >= 0.0001 else "under 0.01%"  # noqa: PLR2004 - what two digits show


def _left(sampled: Sampled) -> Passed:
    guess = sampled.guess
    meant = ", ".join(f"{guess.parent}.{key}" for key in guess.parent_columns)
    return Passed(
        table=guess.table,
        column=", ".join(guess.columns),
        why=f"{meant} could be meant ({guess.why}), but {of_sample(sampled)}",
    )


def _sequence(counter: Counter) -> Proposed:
    return Proposed(
        rule=Sequence(
            name=f"sequence of {counter.table}.{counter.column} behind its rows",
            table=counter.table,
            column=counter.column,
        ),
        why="after a failover or a restore a sequence may give a number again",
    )


def judge_proposal(seen: Survey, proposal: Proposal, *, shown: bool) -> tuple[Evidence, ...]:
    """Say whether all tables were looked at, and whether a person can read what came of it."""
    unread = f", but not {', '.join(seen.unreadable)}: GRANT SELECT on them to its user" if seen.unreadable else ""
    return (
        Evidence(
            claim="every table of the schema could be read",
            seen=f"{seen.tables - len(seen.unreadable)} of {seen.tables} tables{unread}",
            holds=not seen.unreadable,
        ),
        Evidence(
            claim="the proposal can be read in the UI",
            seen=f"artifact {artifact_of(seen.target)}, {len(proposal.rules)} rules"
            if shown
            else "Prefect did not take it",
            holds=shown,
        ),
    )


def sum_up(seen: Survey, proposal: Proposal) -> str:
    """Say it in a sentence or two."""
    orphans = sum(isinstance(each.rule, Orphan) for each in proposal.rules)
    sequences = len(proposal.rules) - orphans
    known = f" {seen.in_pack} more are in the rule pack already." if seen.in_pack else ""
    if not proposal.rules:
        return f"Nothing is proposed for the {seen.tables} tables of {seen.schema_name}.{known}"
    broken = f" Rows break {len(proposal.broken)} of them already." if proposal.broken else ""
    return (
        f"{orphans} orphan rules and {sequences} sequence rules are proposed for the {seen.tables} tables of"
        f" {seen.schema_name}.{broken}{known} They are in the artifact {artifact_of(seen.target)}, ready to paste into"
        f" the RulePack block {seen.target}."
    )


def figures_of(seen: Survey, proposal: Proposal) -> dict[str, float]:
    """Give what was counted."""
    return {
        "tables": seen.tables,
        "columns": seen.columns,
        "columns_with_a_foreign_key": seen.constrained,
        "rules_proposed": len(proposal.rules),
        "columns_without_a_proposal": len(proposal.left),
        "rows_looked_at": sum(each.looked_at for each in seen.sampled),
    }


def unlooked(seen: Survey) -> tuple[str, ...]:
    """Say what was not looked at."""
    unsampled = [each.guess for each in seen.sampled if each.problem]
    named = ", ".join(f"{each.table}.{each.columns[0]}" for each in unsampled[:10])
    more = " and others" if len(unsampled) > 10 else ""  # noqa: PLR2004 - as many as are named
    said = [f"No row of these was looked at, only their names: {named}{more}."] if unsampled else []
    return (
        *said,
        "A sample of the rows was looked at: consistency-check, with the rules in place, looks at all of them.",
        f"Only the schema {seen.schema_name} was looked at, and only what a name gives away.",
    )
