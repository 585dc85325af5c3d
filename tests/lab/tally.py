"""What the application was promised, against what the database holds. Pure: a log and rows in, numbers out."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

Order = tuple[str, int]


@dataclass
class Journal:
    """The application's log, read so far."""

    client: str
    acks: list[tuple[float, int, int, float]] = field(default_factory=list)  #: when, writer, seq, seconds it took
    errors: list[tuple[float, str]] = field(default_factory=list)  #: when, what
    began: float | None = None
    stopped: float | None = None

    def read(self, lines: list[str]) -> None:
        """Take in more lines."""
        for line in lines:
            kind, at, *rest = line.split("\t")
            match kind:
                case "A":
                    self.acks.append((float(at), int(rest[0]), int(rest[1]), float(rest[2])))
                case "E":
                    self.errors.append((float(at), f"{rest[2]} {rest[3]}"))
                case "B":
                    self.began = float(at)
                case "S":
                    self.stopped = float(at)

    @property
    def acknowledged(self) -> set[Order]:
        """The orders that somebody was told are placed."""
        return {(f"{self.client}-{writer}", seq) for _, writer, seq, _ in self.acks}

    def span(self, orders: set[Order]) -> float:
        """Return the time in which ORDERS were being placed and acknowledged."""
        ends = [(at, took) for at, writer, seq, took in self.acks if (f"{self.client}-{writer}", seq) in orders]
        return round(max(at for at, _ in ends) - min(at - took for at, took in ends), 4) if ends else 0.0

    def gap(self, writer: int | None = None, until: float | None = None) -> tuple[float, float, float]:
        """Return the longest time without an acknowledged order, and its two ends; UNTIL counts as an end."""
        times = sorted(ack[0] for ack in self.acks if writer is None or ack[1] == writer)
        times += [until] if until and times and until > times[-1] else []
        gaps = [(after - before, before, after) for before, after in pairwise(times)]
        return max(gaps, default=(0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Tally:
    """One application's account of itself."""

    acknowledged: int
    lost: int  #: acknowledged, but absent from the surviving primary
    lost_seconds: float  #: between the first and the last acknowledgement of what is lost, at least of one order
    duplicated: int  #: charges beyond one per order
    uncharged: int  #: orders that are there without their charge
    errors: int
    outage_seconds: float  #: longest time in which no writer got an acknowledgement
    outage_began: float  #: wall time of the last acknowledgement before it
    outage_ended: float  #: wall time of the first one after it
    worst_writer_seconds: float  #: longest time in which one writer got none
    median_ms: float
    p99_ms: float
    lost_orders: tuple[Order, ...] = ()
    error_kinds: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def tally(journal: Journal, orders: set[Order], charges: Counter[Order], until: float) -> Tally:
    """Compare the journal with the rows of the surviving primary."""
    promised = journal.acknowledged
    lost = sorted(promised - {order for order in orders if charges[order]})
    seconds, began, ended = journal.gap(until=until)
    times = sorted(ack[3] for ack in journal.acks) or [0.0]
    return Tally(
        acknowledged=len(promised),
        lost=len(lost),
        lost_seconds=journal.span(set(lost)),
        duplicated=sum(count - 1 for count in charges.values() if count > 1),
        uncharged=sum(1 for order in orders if not charges[order]),
        errors=len(journal.errors),
        outage_seconds=round(seconds, 4),
        outage_began=began,
        outage_ended=ended,
        worst_writer_seconds=round(
            max((journal.gap(w, until)[0] for w in {ack[1] for ack in journal.acks}), default=0.0), 4
        ),
        median_ms=round(times[len(times) // 2] * 1000, 2),
        p99_ms=round(times[int(len(times) * 0.99)] * 1000, 2),
        lost_orders=tuple(lost[:20]),
        error_kinds=dict(Counter(kind[:80] for _, kind in journal.errors)),
    )
