"""Write what was seen of an object, and its events with it, in one transaction; or the error that stood in the way."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from blocks.app_database import Connection
from tasks.stripe.decide_replay import backoff
from tasks.stripe.reach import Reach
from tasks.stripe.replay_fetch import Look
from tasks.stripe.replay_state import Event, Group, ReplayPlan, effects_by_type

LEASE_SECONDS = 60.0
BROKEN = ("08", "40", "57P")  #: SQLSTATEs that say nothing about the event
Looks = Mapping[tuple[str, str], Look]


class EventWriter:
    """The database's side of a replay; may be used by many threads at once."""

    def __init__(self, at: Reach, plan: ReplayPlan, run_id: str) -> None:
        """Write under the name of the run."""
        self.at, self.plan, self.run_id, self.by = at, plan, run_id, f"replay {run_id}"
        self.effects = effects_by_type(plan.effects)

    def write(self, connection: Connection, group: Group, looks: Looks) -> None:
        """Claim the events of GROUP, write what was seen, enter the effects, settle: all of it or nothing."""
        for each in sorted({group.object_id, *(object_id for _, object_id in looks)}):
            self.at.claims.run(connection, "serialise", object_id=each)
        mine = self._claimed(connection, group.account, group.events)
        if not mine:
            return
        newest = [self._state(connection, table, each, look) for (table, each), look in looks.items()]
        # An event about nothing of ours may still have an effect that somebody wants.
        well = [e for e in mine if (looks or e.type in self.effects) and self._effects(connection, e)]
        if not looks:
            aside = [event for event in mine if event.type not in self.effects]
            self._settle(connection, aside, "skipped", "none of ours")
            self._settle(connection, well, "processed")
            return
        applied = len(well) - any(newest)
        self._settle(connection, well[:applied], "superseded")
        self._settle(connection, well[applied:], "processed")

    def _claimed(self, connection: Connection, account: str, events: Sequence[Event]) -> list[Event]:
        ids = [event.id for event in events]
        claim = {"account": account, "ids": ids, "by": self.by, "lease_seconds": LEASE_SECONDS}
        mine = {row["event_id"] for row in self.at.claims.run(connection, "claim", **claim)}
        return [event for event in events if event.id in mine]

    def _state(self, connection: Connection, table: str, object_id: str, look: Look) -> bool:
        if look.row is None:
            return self.at.claims.bury(connection, table, object_id, look.at) or True
        return self.at.claims.project(connection, table, object_id, look.row, look.at)

    def _effects(self, connection: Connection, event: Event) -> bool:
        """Enter the effects of one event; whether they could be."""
        try:
            with connection.transaction():
                for name in self.effects.get(event.type, ()):
                    note = f"{event.type} {event.object_id}"
                    row = {"account": event.account, "event_id": event.id, "handler": name, "note": note}
                    self.at.claims.run(connection, "effect", **row)
        except Exception as error:
            if str(getattr(error, "sqlstate", None) or "08").startswith(BROKEN):
                raise
            self._fail(connection, [event], error, "effect", burnt=0)  # the claim has counted the attempt
            return False
        return True

    def _settle(self, connection: Connection, events: Sequence[Event], status: str, why: str | None = None) -> None:
        if events:
            end = {"status": status, "error": why, "error_class": "unknown" if why else None, "run_id": self.run_id}
            ids = [event.id for event in events]
            self.at.claims.run(connection, "settle", account=events[0].account, ids=ids, by=self.by, **end)

    def delivered(self, event: Event) -> None:
        """Note that the application took an event, unless its own endpoint has noted that already."""
        with self.at.database.writing() as connection:
            self._settle(connection, self._claimed(connection, event.account, [event]), "processed")

    def failed(
        self, events: Sequence[Event], error: Exception, kind: str, *, pause: float = 0.0, limit: int = 0
    ) -> None:
        """Keep the error of events, and when they are tried again."""
        with self.at.database.writing() as connection:
            self._fail(connection, events, error, kind, pause=pause, limit=limit)

    def _fail(  # noqa: PLR0913 - what is written down of a failure
        self,
        connection: Connection,
        events: Sequence[Event],
        error: Exception,
        kind: str,
        *,
        pause: float = 0.0,
        limit: int = 0,
        burnt: int = 1,
    ) -> None:
        said = {"error": f"{type(error).__name__}: {error}"[:2000], "error_class": kind}
        for event in events:
            wait = backoff(event.attempts, pause, random.uniform)
            who = {"account": event.account, "ids": [event.id], "by": self.by, "run_id": self.run_id}
            limits = {"limit": limit or self.plan.attempts, "burnt": burnt, "pause": wait}
            self.at.claims.run(connection, "fail", **who, **said, **limits)
