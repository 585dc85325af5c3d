"""How fast Stripe may be asked: each endpoint and the whole account, shared by every process of this machine.

The state is one small file per account: for each limit the moment at which the next request may begin, and the share of
the rate that Stripe last bore. A request takes its moment under a file lock and then waits for it, so a process that is
killed leaves nothing locked and has wasted one request at most. Moments are never saved up: there is no burst.
"""

from __future__ import annotations

import fcntl
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock

from blocks.errors import Misconfigured

_SLOT = struct.Struct("<ddd")
SLOTS = 127  #: two endpoints that fall on one slot share its limit, which is the safe side
HEADROOM = 0.97  #: Stripe counts by its own clock, on a road whose length varies
LEAST_SHARE = 0.04
GAIN = 0.005  #: of the full rate, for every request that was let through
CUT_SECONDS = 1.0  #: refusals that follow so close upon one another count as one
STALE_SECONDS = 120.0  #: nobody waits so long: the file is of before a reboot


@dataclass
class Limit:
    """One slot: when the next request may begin (monotonic), the share of the rate in use, when it was last cut."""

    free_at: float = 0.0
    share: float = 1.0
    cut_at: float = 0.0

    def take(self, now: float, rate: float) -> float:
        """Take the next moment at RATE per second."""
        if not now - STALE_SECONDS * 1e6 < self.free_at < now + STALE_SECONDS or not 0 < self.share <= 1:
            self.free_at, self.share, self.cut_at = now, 1.0, 0.0
        at = max(now, self.free_at)
        self.free_at = at + 1 / (rate * self.share)
        self.share = min(1.0, self.share + GAIN)
        return at

    def cut(self, now: float, rate: float, pause: float) -> None:
        """Halve the rate, once for each bout of refusals, and let nobody begin before PAUSE seconds."""
        if not 0 <= now - self.cut_at < CUT_SECONDS:
            self.share = max(LEAST_SHARE, self.share / 2)
            self.cut_at = now
        self.free_at = max(self.free_at, now + max(pause, 1 / (rate * self.share)))


class RateLimiter:
    """Lets requests to one Stripe account through, evenly spaced."""

    def __init__(
        self,
        account: str,
        account_rate: float,
        endpoint_rate: float,
        directory: Path | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Share the limit of ACCOUNT with every other limiter of this machine that has the same DIRECTORY."""
        self.account_rate, self.endpoint_rate = account_rate * HEADROOM, endpoint_rate * HEADROOM
        self._sleep = sleep
        self._lock = Lock()
        self._file = _opened(directory or _shared(), account)

    def wait(self, endpoint: str) -> float:
        """Wait until a request to ENDPOINT may begin, first for its own limit, then for the account's."""
        waited = self._pass(_slot(endpoint), self.endpoint_rate)
        return waited + self._pass(0, self.account_rate)

    def slow(self, endpoint: str, reason: str = "", pause: float = 0.0) -> None:
        """Stripe refused a request: REASON is its Stripe-Rate-Limited-Reason, PAUSE its Retry-After."""
        whole = reason.startswith("global")
        slot, rate = (0, self.account_rate) if whole else (_slot(endpoint), self.endpoint_rate)
        with self._slot(slot) as limit:
            limit.cut(time.monotonic(), rate, pause)

    def share(self, endpoint: str = "") -> float:
        """Tell which share of its rate an endpoint, or the account, is given at the moment."""
        with self._slot(_slot(endpoint) if endpoint else 0) as limit:
            return limit.share

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _pass(self, slot: int, rate: float) -> float:
        with self._slot(slot) as limit:
            now = time.monotonic()
            pause = limit.take(now, rate) - now
        if pause > 0:
            self._sleep(pause)
        return max(0.0, pause)

    @contextmanager
    def _slot(self, number: int) -> Iterator[Limit]:
        at = number * _SLOT.size
        with self._lock:  # a file lock does not tell threads apart
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                kept = os.pread(self._file, _SLOT.size, at)
                known = len(kept) == _SLOT.size and any(kept)
                limit = Limit(*_SLOT.unpack(kept)) if known else Limit()
                yield limit
                os.pwrite(self._file, _SLOT.pack(limit.free_at, limit.share, limit.cut_at), at)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)


def _slot(endpoint: str) -> int:
    return 1 + zlib.crc32(endpoint.encode()) % SLOTS


def _shared() -> Path:
    directory = Path(tempfile.gettempdir()) / f"salvor-limits-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if found.st_uid != os.getuid() or directory.is_symlink():
        raise Misconfigured(f"{directory} belongs to somebody else: remove it, or set TMPDIR to a folder of your own.")
    return directory


def _opened(directory: Path, account: str) -> int:
    name = sha256(account.encode()).hexdigest()[:16]
    return os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
