"""One look with all the rules of a pack: those that fit are asked, of the others it is said why not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from blocks.app_database import Connection
from tasks.consistency.compile import Misfit, compiled
from tasks.consistency.detect import Found, Say, look
from tasks.consistency.policies import RulesPolicy
from tasks.consistency.reach import Reach
from tasks.consistency.state import Finding, Seen, definition_of


class Look:
    """A look that is going on: what was found is given rule by rule, and what was seen at its end."""

    connection: Connection  #: while rows are found

    def __init__(self, at: Reach, policy: RulesPolicy, most: int, say: Say, *, on_replica: bool = True) -> None:
        """Look at nothing yet."""
        self._on_replica = on_replica
        self._at, self._policy, self._most, self._say = at, policy, most, say
        self._findings: dict[str, Finding] = {}
        self._rules = at.rules(policy)
        self._where, self._began = "", datetime.now(UTC)

    @contextmanager
    def found(self) -> Iterator[Iterator[Found]]:
        """Give what each rule finds, one after the other, all as of one moment."""
        database = self._at.to_look_at(self._policy) if self._on_replica else self._at.database
        self._where = database.where
        with database.reading() as connection:
            self.connection = connection
            self._began = datetime.now(UTC)
            checks, misfits = compiled(self._rules, self._at.catalog(connection, self._rules))
            self._findings |= {each.rule.name: _unfit(each) for each in misfits}
            yield self._noted(look(connection, checks, self._most, self._say))

    def _noted(self, found: Iterator[Found]) -> Iterator[Found]:
        for each in found:
            self._findings[each.finding.rule] = each.finding
            yield each

    def seen(self) -> Seen:
        """Sum up."""
        return Seen(
            resource=self._at.resource,
            target=self._at.target,
            at=self._began,
            where=self._where,
            definition=definition_of(self._rules),
            findings=tuple(self._findings[rule.name] for rule in self._rules),
        )


def _unfit(misfit: Misfit) -> Finding:
    rule = misfit.rule
    return Finding(
        rule=rule.name,
        kind=rule.kind,
        table=getattr(rule, "table", ""),
        repair=rule.repair,
        unseen=" ".join(misfit.reasons),
    )
