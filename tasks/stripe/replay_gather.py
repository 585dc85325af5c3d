"""Gather what nobody has done: each page is held against our ledger as it comes, and only the unknown is kept whole.

Three sources: all events of the window minus our ledger, which is the truth; what Stripe says that an endpoint has not
taken, which is a hint; and our own rows that were received and never finished, of any age.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

from blocks.app_database import Connection
from blocks.stripe_api import StripeApi
from blocks.stripe_errors import StripeForbidden, StripeRefused
from tasks.stripe.event_subject import NEVER_MADE
from tasks.stripe.reach import Reach
from tasks.stripe.replay_list import (
    Bodies,
    account_of,
    completed,
    event_of,
    own_event,
    pages,
    questions,
    thin_pages,
)
from tasks.stripe.replay_policies import ReplayPolicy
from tasks.stripe.replay_state import DONE, GIVEN_UP, SET_ASIDE, Backlog, Event, Seen, effects_by_type

Key = tuple[str, str]
Standing = dict[Key, dict[str, Any]]
SIDE_BY_SIDE = 6  #: windows of time listed at once: as many requests as the limit bears are then under way


def standing_of(at: Reach, connection: Connection, keys: Iterable[Key]) -> Standing:
    """Ask the ledger about events, all at once for each account."""
    ids: dict[str, list[str]] = {}
    for account, event in keys:
        ids.setdefault(account, []).append(event)
    return {
        (account, row["event_id"]): row
        for account, mine in ids.items()
        for row in at.claims.run(connection, "standing", account=account, ids=mine)
    }


class Gathering:
    """The events of a window that nobody has done, and how many there are of the others."""

    def __init__(self, at: Reach, seen: Seen, policy: ReplayPolicy) -> None:
        """Start with nothing."""
        self.at, self.seen, self.policy = at, seen, policy
        self.todo: dict[Key, Event] = {}
        self.counts: Counter[str] = Counter()
        self.thin = ""
        self._open: set[Key] = set()  #: known and not ended, when their page was held against the ledger
        self._effects = set(effects_by_type(policy.pairs))
        self._lock = Lock()

    @property
    def full(self) -> bool:
        """Whether there are more than may be replayed: nothing more need be listed."""
        return len(self.todo) > self.policy.max_events

    def page(self, connection: Connection, account: str, bodies: Bodies, *, again: bool = False) -> None:
        """Hold a page against the ledger; one that is listed AGAIN tells only of what was not there before."""
        bodies = [body for body in bodies if account_of(body, account) == account]  # another's are in its own list
        keys = [(account, str(body["id"])) for body in bodies]
        known = standing_of(self.at, connection, keys)
        with self._lock:
            for key, body in zip(keys, bodies, strict=True):
                self.counts["stripe"] += not again or (key not in known and key not in self.todo)
                if key not in known:
                    self.todo.setdefault(key, event_of(body, account))
                elif not again:
                    self._known(key, known[key]["status"])

    def own(self, connection: Connection) -> None:
        """Add our own rows that are not finished."""
        limit, types = self.policy.max_events + 1, list(self.policy.types)
        asked = {"until": self.seen.until, "accounts": list(self.at.accounts), "types": types, "limit": limit}
        for row in self.at.claims.run(connection, "unfinished", **asked):
            event = own_event(row)
            key = (event.account, event.id)
            self.counts["own"] += key not in self._open and key not in self.todo
            self._open.discard(key)
            self.todo[key] = event
        for key, row in standing_of(self.at, connection, self._open).items():
            self._known(key, row["status"], ended="left_alone")  # somebody was quicker, or it came in just now

    def _known(self, key: Key, status: str, ended: str = "") -> None:
        kinds = {"already": DONE, "aside": SET_ASIDE, "dead": GIVEN_UP}
        found = next((name for name, statuses in kinds.items() if status in statuses), ended)
        if found:
            self.counts[found] += 1
        else:
            self._open.add(key)

    def complete(self, apis: dict[str, StripeApi]) -> None:
        """Ask which objects the events name that tell of events that were never made."""
        for key, event in [pair for pair in self.todo.items() if pair[1].type == NEVER_MADE]:
            try:
                self.todo[key] = completed(apis[event.account], event)
            except (StripeForbidden, StripeRefused) as error:
                self.thin = str(error)
                del self.todo[key]  # it waits for a key that may look
                self.counts["left_alone"] += 1

    def wanted(self, bodies: Bodies) -> Bodies:
        """Leave out the thin events that only repeat a snapshot event, unless an effect hangs on their type."""
        return [body for body in bodies if not body.get("snapshot_event") or body["type"] in self._effects]

    def backlog(self) -> Backlog:
        """Give what was found."""
        events = list(self.todo.values())
        strange = [e for e in events if e.livemode != self.at.account.livemode]
        unknown = {e.type for e in events if not e.table and not e.named and e.type not in self._effects}
        found: dict[str, Any] = {
            "cut": self.full,
            "thin": self.thin,
            "unknown": tuple(sorted(unknown)),
            "problems": (_other_mode(strange, livemode=self.at.account.livemode),) if strange else (),
        }
        return Backlog(self.seen.model_copy(update=dict(self.counts) | found), events)


def gathered(at: Reach, apis: dict[str, StripeApi], seen: Seen, policy: ReplayPolicy) -> Backlog:
    """Look into all sources."""
    it = Gathering(at, seen, policy)

    def listing(api: StripeApi, account: str, asked: dict[str, Any]) -> Callable[[], None]:
        return lambda: _read(it, account, pages(api, asked))

    asked = questions(seen.since, seen.until, policy.types, SIDE_BY_SIDE)
    _side_by_side([listing(api, account, each) for account, api in apis.items() for each in asked], apis)
    for account, api in apis.items():
        for each in questions(seen.since, seen.until, policy.types, 1):
            hinted = pages(api, each | {"delivery_success": False})
            _read(it, account, _counted(it, hinted), again=True)
        _read_thin(it, account, api)
    with at.database.reading() as connection:
        it.own(connection)
    it.complete(apis)
    return it.backlog()


def _side_by_side(listings: list[Callable[[], None]], apis: dict[str, StripeApi]) -> None:
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        futures = [pool.submit(each) for each in listings]
        try:
            for future in futures:
                future.result()
        except BaseException:
            for api in apis.values():
                api.stopped.set()  # the others need not go on
            raise


def _read(it: Gathering, account: str, listed: Iterator[Bodies], *, again: bool = False) -> None:
    with it.at.database.reading() as connection:
        for bodies in listed:
            it.page(connection, account, bodies, again=again)
            if it.full:
                return


def _read_thin(it: Gathering, account: str, api: StripeApi) -> None:
    listed = thin_pages(api, it.seen.since, it.seen.until, it.policy.types)
    try:
        _read(it, account, map(it.wanted, listed))
    except (StripeForbidden, StripeRefused) as error:  # a restricted key may lack this one right
        it.thin = str(error)


def _counted(it: Gathering, listed: Iterator[Bodies]) -> Iterator[Bodies]:
    for bodies in listed:
        it.counts["undelivered"] += len(bodies)
        yield bodies


def _other_mode(strange: list[Event], *, livemode: bool) -> str:
    mode = "live mode" if livemode else "a sandbox"
    return (
        f"{len(strange)} events (e.g. {strange[0].id}) are not of {mode}, which the StripeAccount block names:"
        " this is the wrong database or the wrong key."
    )
