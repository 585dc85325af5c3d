"""One pass over the events: each object is looked up once, and its events are done in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from operator import itemgetter
from threading import Lock

from blocks.errors import Misconfigured, SalvorError
from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeBusy, StripeRefused
from tasks.stripe.clock import database_clock
from tasks.stripe.event_subject import grouped
from tasks.stripe.reach import Reach
from tasks.stripe.replay_fetch import Look, listed, looked_up, named_row
from tasks.stripe.replay_links import Links, listed_links
from tasks.stripe.replay_state import Event, Group, ReplayPlan
from tasks.stripe.replay_write import EventWriter, Looks

CHUNK = 10
BUSY_LOOKS = 10  #: so many looks in a row that Stripe did not answer are an outage, and no fault of the events
Task = tuple[Group, Looks]
Say = Callable[[str, float], None]
FROM_PERCENT, OF_PERCENT = 40, 50  #: what is before, and what comes after, is short


class Pass:
    """One pass, with everything it needs; its threads share it."""

    least_pause = 0.05  #: seconds between two passes

    def __init__(
        self,
        at: Reach,
        plan: ReplayPlan,
        run_id: str,
        apis: dict[str, StripeApi],
        *,
        say: Say = lambda _sentence, _percent: None,
    ) -> None:
        """Read the clock."""
        self.at, self.plan, self.apis, self._say = at, plan, apis, say
        self.writer = EventWriter(at, plan, run_id)
        self._clock, self._since = database_clock(at.database), time.monotonic()
        self._busy, self._worked, self._lock = 0, 0, Lock()

    def clock(self) -> datetime:
        """Tell the time of the database, rather early than late."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def work(self, events: Sequence[Event]) -> None:
        """Do EVENTS; what fails is kept with its error, and only what concerns all of them is raised."""
        with ThreadPoolExecutor(self.plan.workers) as pool:
            futures: list[Future[None]] = []
            try:
                futures.extend(self._submitted(pool, grouped(events)))
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
        lists = [pool.submit(self._listed, pool, *key, shelf) for key, shelf in shelves.items()]
        chunks: list[tuple[float, list[Group], Links | None]] = []
        for each in lists:
            submitted, left, links = each.result()
            yield from submitted
            starts = range(0, len(left), CHUNK)
            chunks += [(start / len(left), left[start : start + CHUNK], links) for start in starts]
        # Each table is an endpoint with a limit of its own: all are asked side by side, and come to their end together.
        for _, chunk, links in sorted(chunks, key=itemgetter(0)):
            yield pool.submit(self._chunk, chunk, links)

    def _listed(
        self, pool: ThreadPoolExecutor, account: str, table: str, shelf: dict[str, Group]
    ) -> tuple[list[Future[None]], list[Group], Links | None]:
        """List what is cheaper listed; give that, under way, and what is left to be asked for one by one."""
        wanted, submitted = set(shelf), []
        links = self._links(account, shelf) if table == "payments" else {}
        if table:
            for looks in listed(self.apis[account], table, wanted, self.clock, links):
                tasks = [(shelf[each], {(table, each): look}) for each, look in looks.items()]
                submitted.append(pool.submit(self._together, tasks))
        return submitted, [shelf[name] for name in sorted(wanted)], links

    # --- looking

    def _chunk(self, groups: Sequence[Group], links: Links | None) -> None:
        tasks = []
        for group in groups:
            try:
                tasks.append((group, self._looks(group, links)))
            except StripeBusy as error:
                self.writer.failed(group.events, error, "transient", pause=error.pause)
                self._note(busy=True)
                if self._busy >= BUSY_LOOKS:
                    raise
            except StripeRefused as error:
                self.writer.failed(group.events, error, "permanent", limit=1)
            else:
                self._note(busy=False)
        self._together(tasks)

    def _note(self, *, busy: bool) -> None:
        with self._lock:
            self._busy = self._busy + 1 if busy else 0

    def _links(self, account: str, payments: Iterable[str]) -> Links | None:
        """Give the invoices of payments, as far as they need not be asked one by one; None when nobody wants them."""
        with self.at.database.reading() as connection:
            ours = self.at.claims.linked(connection, list(payments))
        # A payment is never taken from the invoice that it pays to another one, so what our row says need not be
        # asked again; a wrong link of ours is for the resync.
        return None if ours is None else ours | listed_links(self.apis[account], set(payments) - set(ours))

    def _looks(self, group: Group, links: Links | None) -> dict[tuple[str, str], Look]:
        api = self.apis[group.account]
        if group.table:
            return {(group.table, group.object_id): looked_up(api, group.table, group.object_id, self.clock, links)}
        found = {}
        for account, kind, object_id in sorted({each for event in group.events for each in event.named}):
            there = self._of(account or group.account)
            if row := named_row(there, kind, object_id):
                found[row] = looked_up(there, *row, self.clock, links)
        return found

    def _of(self, account: str) -> StripeApi:
        if account not in self.apis:
            raise StripeRefused(f"{account} is not among connected_accounts of the StripeAccount block: add it there.")
        return self.apis[account]

    # --- writing

    def _together(self, tasks: Sequence[Task]) -> None:
        """Do several objects in one transaction; when that fails, each in one of its own."""
        if not tasks:
            return
        ordered = sorted(tasks, key=lambda task: task[0].object_id)  # everybody takes the locks in one order
        try:
            with self.at.database.writing() as connection:
                for task in ordered:
                    self.writer.write(connection, *task)
        except Misconfigured:
            raise
        except SalvorError:  # one of them is poison, or the server had trouble: each alone shows which
            for task in ordered:
                self._alone(task)
        self._tell(sum(len(group.events) for group, _ in tasks))

    def _tell(self, events: int) -> None:
        with self._lock:
            self._worked = min(self._worked + events, self.plan.events)  # what is tried again counts once
            seconds = max(time.monotonic() - self._since, 0.001)
            share = self._worked / self.plan.events
            left = seconds / share - seconds
            self._say(
                f"Worked on {self._worked:,} of {self.plan.events:,} events, {self._worked / seconds:,.0f} a second;"
                f" about {left:,.0f} s to go",
                FROM_PERCENT + OF_PERCENT * share,
            )

    def _alone(self, task: Task) -> None:
        try:
            with self.at.database.writing() as connection:
                self.writer.write(connection, *task)
        except Misconfigured:
            raise
        except SalvorError as error:
            self.writer.failed(task[0].events, error, "state")
