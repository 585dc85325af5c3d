"""What the sentinel tells: a loss once per episode however many sentinels saw it, a return, two primaries."""

from __future__ import annotations

from datetime import datetime, timedelta

from blocks.ledger import claims, intake, outbox, positions
from blocks.ledger.block import Ledger
from blocks.ledger.records import Notification
from flows.triggers.dispatch import Filed, file
from flows.triggers.events import Signal
from flows.triggers.sentinel.detect import Pace, Verdict, Watch, attempt
from tasks.model import Frozen

PROCEDURE = "postgres-failover"


class Episode(Frozen):
    """One loss of one primary, by the same name for every sentinel."""

    target: str
    system_identifier: str
    timeline: int
    since: datetime  #: the last time anybody recorded the primary

    @property
    def resource(self) -> str:
        """What is being watched."""
        return f"recovery.postgres.{self.target}"

    def fingerprint(self, number: int) -> str:
        """Name the announcement with this NUMBER; it is the run's `alert`."""
        return f"{self.target}-t{self.timeline}-{self.since:%Y%m%dT%H%M%S.%f}-{number}"


class Seen(Frozen):
    """A verdict with what it is about, at one moment of the wall clock."""

    verdict: Verdict
    watch: Watch
    at: datetime
    last_good_at: datetime | None = None  #: when the primary was last seen writable


def episode(ledger: Ledger, target: str, seen: Seen) -> Episode:
    """Name the episode by the last recorded position, which all sentinels share and nobody moves during a loss."""
    last = positions.last(ledger, f"recovery.postgres.{target}")
    return Episode(
        target=target,
        system_identifier=seen.watch.system_identifier,
        timeline=seen.watch.timeline,
        since=last.at if last else seen.last_good_at or seen.at,
    )


class Announcer:
    """One sentinel's voice about one target; its methods talk to the ledger and are run in a thread."""

    def __init__(self, ledger: Ledger, target: str, by: str, known: tuple[str, ...], pace: Pace) -> None:
        """Speak as BY, which must differ between sentinels."""
        self.ledger = ledger
        self.target = target
        self.by = by
        self.known = known
        self.pace = pace
        self._open: Episode | None = None
        self._told: set[str] = set()

    @property
    def open(self) -> bool:
        """Whether a loss was told of and its end was not."""
        return self._open is not None

    def lost(self, seen: Seen) -> list[Filed]:
        """Tell of a loss, once, and again after 30, 90, 210 … seconds while nothing has healed."""
        now = self._open or episode(self.ledger, self.target, seen)
        name = now.fingerprint(attempt((seen.at - now.since).total_seconds(), self.pace))
        key = f"lost/{now.system_identifier}/{name}"
        # A switchover stops the primary for a moment, and a failover is the answer already. If that run dies, its lease
        # runs out, and the loss is told then.
        if key in self._told or intake.is_operated_on(self.ledger, now.resource):
            return []
        self._open = now
        return self._once(key, self._signal(seen, name, seen.last_good_at or now.since))

    def healthy(self, seen: Seen) -> list[Filed]:
        """Tell that writes are taken again after a loss."""
        if self._open is None:
            return []
        names = self._ended(self._open, seen)
        first, *more = [self._signal(seen, name, seen.at, status="resolved") for name in names]
        quiet = [s.model_copy(update={"why_not": "stored with the first"}) for s in more]
        filed = self._once(f"returned/{self._open.system_identifier}/{names[0]}", first, *quiet)
        self._open = None
        return filed

    def conflicted(self, seen: Seen) -> list[Filed]:
        """Tell of two primaries, and page: once an hour while it lasts. Nothing is started by it."""
        name = f"{self.target}-conflict-{seen.at:%Y%m%dT%H}"
        if name in self._told:
            return []
        page = Notification(
            urgency="page",
            title=f"{self.target}: two primaries",
            body=seen.verdict.why,
            resource=f"recovery.postgres.{self.target}",
        )
        outbox.put(self.ledger, "notification", name, page.model_dump())
        return self._once(name, self._signal(seen, name, seen.at).model_copy(update={"informs": True}))

    def _once(self, key: str, *signals: Signal) -> list[Filed]:
        if key in self._told:
            return []
        first = claims.claim_event(self.ledger, key, self.by)
        filed = [file(self.ledger, s, self.known) for s in signals] if first else []
        # Only now: when the ledger failed on the way, the next look tries again, and the claim is still ours.
        self._told.add(key)
        return filed

    def _ended(self, ended: Episode, seen: Seen) -> list[str]:
        # Only the same primary's return ends the alerts. When another one took over, a run is mending the rest, and
        # must not find its alert resolved if it is cut off and started again.
        if seen.watch.timeline != ended.timeline:
            return [f"{ended.fingerprint(0)}-moved"]
        last = attempt((seen.at - ended.since).total_seconds(), self.pace)
        return [ended.fingerprint(n) for n in range(last + 1)]

    def _signal(self, seen: Seen, name: str, starts_at: datetime, status: str = "firing") -> Signal:
        verdict = seen.verdict
        return Signal.model_validate(
            {
                "source": "sentinel",
                "fingerprint": name,
                "starts_at": starts_at,
                "status": status,
                "name": verdict.kind,
                "severity": "critical" if status == "firing" else "info",
                "procedure": PROCEDURE,
                "target": self.target,
                "reason": verdict.why,
                "requested_by": "sentinel",
                "raw": self._figures(seen),
            }
        )

    def _figures(self, seen: Seen) -> dict[str, object]:
        verdict, good = seen.verdict, seen.last_good_at
        since_miss = None
        if verdict.first_miss is not None and verdict.last_good is not None and good is not None:
            since_miss = (good + timedelta(seconds=verdict.first_miss - verdict.last_good)).isoformat()
        return {
            "by": self.by,
            "node": verdict.node,
            "timeline": seen.watch.timeline,
            "last_good_at": good.isoformat() if good else None,
            "first_miss_at": since_miss,
            "verdict_at": seen.at.isoformat(),
            "detection_seconds": (seen.at - good).total_seconds() if good else None,
        }
