"""One pass over the events: each object is looked up once, and its events are done in one transaction."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from blocks.app_database import Connection
from blocks.errors import Misconfigured, SalvorError
from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeBusy, StripeRefused
from tasks.stripe.decide_replay import backoff, grouped
from tasks.stripe.replay_fetch import Look, listed, looked_up
from tasks.stripe.replay_reach import ReplayReach
from tasks.stripe.replay_state import Event, Group, ReplayPlan

CHUNK = 20
LEASE_SECONDS = 60.0
BROKEN = ("08", "40", "57P")  #: SQLSTATEs that say nothing about the event
Task = tuple[Group, dict[tuple[str, str], Look]]


def database_clock(at: ReplayReach) -> tuple[datetime, float]:
    """Ask the database for its time once; from there on our own monotonic clock counts."""
    before = time.monotonic()
    with at.database.reading() as connection:
        return at.claims.run(connection, "clock")[0]["at"], before


@dataclass
class Pass:
    """One pass, with everything it needs; its threads share it."""

    at: ReplayReach
    plan: ReplayPlan
    run_id: str
    apis: dict[str, StripeApi]
    effects: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the clock, and which effects there are."""
        self._moment, self._since = database_clock(self.at)
        self.by = f"replay {self.run_id}"
        for kind, name in self.plan.effects:
            self.effects.setdefault(kind, []).append(name)

    def clock(self) -> datetime:
        """Tell the time of the database, rather early than late."""
        return self._moment + timedelta(seconds=time.monotonic() - self._since)

    def work(self, events: Sequence[Event]) -> None:
        """Do EVENTS; what fails is kept with its error, and only what concerns all of them is raised."""
        with ThreadPoolExecutor(self.plan.workers) as pool:
            futures = list(self._submitted(pool, grouped(events)))
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self._stop(futures)
                raise

    def _stop(self, futures: list[Future[None]]) -> None:
        for api in self.apis.values():
            api.stopped.set()
        for future in futures:
            future.cancel()

    def _submitted(self, pool: ThreadPoolExecutor, groups: Sequence[Group]) -> Iterable[Future[None]]:
        shelves: dict[tuple[str, str], dict[str, Group]] = {}
        for group in groups:
            shelves.setdefault((group.account, group.table), {})[group.object_id] = group
        for (account, table), shelf in shelves.items():
            left = set(shelf)
            if table:
                for looks in listed(self.apis[account], table, left, self.clock):
                    tasks = [(shelf[each], {(table, each): look}) for each, look in looks.items()]
                    yield pool.submit(self._together, tasks)
            names = sorted(left)
            for start in range(0, len(names), CHUNK):
                yield pool.submit(self._chunk, [shelf[name] for name in names[start : start + CHUNK]])

    def _chunk(self, groups: Sequence[Group]) -> None:
        tasks = []
        for group in groups:
            try:
                tasks.append((group, self._looks(group)))
            except StripeBusy as error:
                self.failed(group.events, error, "transient", pause=error.pause)
            except StripeRefused as error:
                self.failed(group.events, error, "permanent", limit=1)
        self._together(tasks)

    def _looks(self, group: Group) -> dict[tuple[str, str], Look]:
        wanted = {(group.table, group.object_id)} if group.table else {n for e in group.events for n in e.named}
        api = self.apis[group.account]
        return {(table, each): looked_up(api, table, each, self.clock) for table, each in sorted(wanted)}

    # --- the database

    def _together(self, tasks: Sequence[Task]) -> None:
        """Do several objects in one transaction; when that fails, each in one of its own."""
        if not tasks:
            return
        ordered = sorted(tasks, key=lambda task: task[0].object_id)  # everybody takes the locks in one order
        try:
            with self.at.database.writing() as connection:
                for task in ordered:
                    self._done(connection, *task)
        except Misconfigured:
            raise
        except SalvorError:  # one of them is poison, or the server had trouble: each alone shows which
            for task in ordered:
                self._alone(task)

    def _alone(self, task: Task) -> None:
        try:
            with self.at.database.writing() as connection:
                self._done(connection, *task)
        except Misconfigured:
            raise
        except SalvorError as error:
            self.failed(task[0].events, error, "state")

    def _done(self, connection: Connection, group: Group, looks: dict[tuple[str, str], Look]) -> None:
        claims = self.at.claims
        claims.run(connection, "serialise", object_id=group.object_id)
        ids = [event.id for event in group.events]
        claim = {"account": group.account, "ids": ids, "by": self.by, "lease_seconds": LEASE_SECONDS}
        mine = {row["event_id"] for row in claims.run(connection, "claim", **claim)}
        events = [event for event in group.events if event.id in mine]
        if not events:
            return
        if not looks:
            self._settle(connection, events, "skipped", "none of ours")
            return
        newest = [self._written(connection, table, each, look) for (table, each), look in looks.items()]
        well = [event for event in events if self._effects(connection, event)]
        last = well[-1:] if any(newest) else []
        self._settle(connection, [event for event in well if event not in last], "superseded")
        self._settle(connection, last, "processed")

    def _written(self, connection: Connection, table: str, object_id: str, look: Look) -> bool:
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
            self._fail(connection, [event], error, "effect", burnt=0)
            return False
        return True

    def _settle(self, connection: Connection, events: Sequence[Event], status: str, why: str | None = None) -> None:
        if events:
            row = {"status": status, "error": why, "error_class": "unknown" if why else None, "run_id": self.run_id}
            ids = [event.id for event in events]
            self.at.claims.run(connection, "settle", account=events[0].account, ids=ids, **row)

    def failed(
        self, events: Sequence[Event], error: Exception, kind: str, *, pause: float = 0.0, limit: int = 0
    ) -> None:
        """Keep the error of events, and when they are tried again."""
        with self.at.database.writing() as connection:
            self._fail(connection, events, error, kind, pause=pause, limit=limit)

    def delivered(self, event: Event) -> None:
        """Note that the application took an event, unless its own endpoint has noted that already."""
        claim = {"account": event.account, "ids": [event.id], "by": self.by, "lease_seconds": LEASE_SECONDS}
        with self.at.database.writing() as connection:
            if self.at.claims.run(connection, "claim", **claim):
                self._settle(connection, [event], "processed")

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
        for event in events:
            self.at.claims.run(
                connection,
                "fail",
                account=event.account,
                ids=[event.id],
                by=self.by,
                burnt=burnt,
                limit=limit or self.plan.attempts,
                error=f"{type(error).__name__}: {error}"[:2000],
                error_class=kind,
                run_id=self.run_id,
                pause=backoff(event.attempts, pause, random.uniform),
            )
