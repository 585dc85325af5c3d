"""When the repair waits for the rest of the world, and when it stops. Pure, but for the look itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from blocks.app_database import Connection
from tasks.consistency.repair_policies import Limits, within
from tasks.consistency.stores import run

FIRST, FEWEST, MOST = 200, 50, 2000
WAIT_SECONDS = 0.2
#: A standby that stays behind for so long will not be waited for any longer in this run.
PATIENCE_SECONDS = 120.0


class Pressure(NamedTuple):
    """How the server is doing."""

    lag_mb: float
    wal_mb: float  #: ever written
    writer_wait_ms: float
    archiving_fails: bool


class Verdict(NamedTuple):
    """Whether the next batch may begin."""

    wait: str = ""  #: why not yet
    stop: str = ""  #: why no more


def next_size(size: int, milliseconds: float, target: float) -> int:
    """Give the size of the next batch: towards the time it may take, at most half as much again."""
    return round(max(FEWEST, min(MOST, size * max(0.5, min(1.5, target / max(milliseconds, 0.1))))))


def judged(now: Pressure, before: Pressure | None, seconds: float, limits: Limits) -> Verdict:
    """Hold the server against the limits; SECONDS have passed since BEFORE."""
    if now.lag_mb > limits.abort_lag_mb:
        return Verdict(stop=f"a standby is {now.lag_mb:,.0f} MB behind (abort_lag_mb)")
    if now.archiving_fails:
        return Verdict(stop="the archiving of WAL fails")
    if now.lag_mb > limits.max_lag_mb:
        return Verdict(wait=f"a standby is {now.lag_mb:,.0f} MB behind (max_lag_mb)")
    if now.writer_wait_ms > limits.max_writer_wait_ms:
        return Verdict(wait=f"a session waits {now.writer_wait_ms:,.0f} ms for a lock (max_writer_wait_ms)")
    rate = (now.wal_mb - before.wal_mb) / seconds if before and seconds > 0 else 0.0
    if rate > limits.max_wal_mb_per_second:
        return Verdict(wait=f"the server writes {rate:,.0f} MB of WAL a second (max_wal_mb_per_second)")
    return Verdict()


class Throttle:
    """Lets batches through, one after the other."""

    def __init__(self, connection: Connection, limits: Limits, say: Callable[[str], None]) -> None:
        """Look by a connection of its own."""
        self._connection, self._limits, self._say = connection, limits, say
        self._last: tuple[Pressure, float] | None = None
        self._looked = 0.0

    def admit(self) -> str:
        """Wait until the next batch may begin; say why no more may, if so."""
        began = time.monotonic()
        if began - self._looked < WAIT_SECONDS:
            return ""
        while True:
            if not within(self._limits.window_utc, datetime.now(UTC).time()):
                return f"the window {self._limits.window_utc} UTC is over"
            verdict = self._look()
            if verdict.stop or not verdict.wait:
                return verdict.stop
            if time.monotonic() - began > PATIENCE_SECONDS:
                return f"after {PATIENCE_SECONDS:.0f} s still: {verdict.wait}"
            self._say(f"Waiting: {verdict.wait}")
            time.sleep(WAIT_SECONDS)

    def _look(self) -> Verdict:
        now, at = Pressure(*run(self._connection, "pressure")[0]), time.monotonic()
        before, then = self._last or (None, at)
        self._last, self._looked = (now, at), at
        return judged(now, before, at - then, self._limits)
