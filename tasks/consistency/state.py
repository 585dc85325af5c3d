"""What was seen of an application's rows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from pydantic import TypeAdapter

from blocks.rules import Rule
from tasks.model import Frozen

SAMPLES = 20
NAMED = 5  #: rules in a sentence; the report has them all


class Finding(Frozen):
    """What one rule found."""

    rule: str
    kind: str
    table: str = ""
    repair: str = "report"
    found: int = 0  #: wrong rows
    kept: int = 0  #: of these, how many are known by their key
    samples: tuple[str, ...] = ()  #: the first, key and evidence
    seconds: float = 0.0
    rows: float = 0.0  #: of the table, as the planner believes
    notes: tuple[str, ...] = ()
    unseen: str = ""  #: why it could not be looked at

    @property
    def holds(self) -> bool:
        """Whether it was looked at and nothing is wrong."""
        return not self.unseen and not self.found


class Seen(Frozen):
    """One look at everything that the rules speak of."""

    resource: str
    target: str
    at: datetime
    where: str  #: the database that was looked at, in words
    definition: str  #: identifies the rules that were looked at
    findings: tuple[Finding, ...] = ()

    @property
    def broken(self) -> tuple[Finding, ...]:
        """Rules with wrong rows."""
        return tuple(each for each in self.findings if each.found)

    @property
    def unseen(self) -> tuple[Finding, ...]:
        """Rules that could not be looked at."""
        return tuple(each for each in self.findings if each.unseen)


_RULES: TypeAdapter[tuple[Rule, ...]] = TypeAdapter(tuple[Rule, ...])


def definition_of(rules: Sequence[Rule]) -> str:
    """Identify rules by everything they say."""
    return sha256(_RULES.dump_json(tuple(rules))).hexdigest()[:16]


def counted(findings: Sequence[Finding]) -> str:
    """Count in a sentence, the most first: `jobs that hang: 12; users without an e-mail address: 3; and 4 more`."""
    most = sorted(findings, key=lambda each: -each.found)
    said = [f"{each.rule}: {each.found:,}" for each in most[:NAMED]]
    return "; ".join([*said, *([f"and {len(most) - NAMED} more"] if len(most) > NAMED else [])])
