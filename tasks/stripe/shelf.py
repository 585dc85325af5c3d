"""Where the files of comparisons stand: one folder for each target, old ones thrown away, a begun one gone on with."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.stripe.spool import FORMAT, Spool

GOES_ON_SECONDS = 3600  #: an older beginning is not gone on with
KEEP_SECONDS = 2 * 86_400  #: the longest wait for an approval, and the longest run after it
BESIDE = "-beside"  #: ends the name of a file that was begun while another was filled; nobody goes on with it
LISTINGS = 20  #: files of differences that are kept


class Shelf:
    """The folder of one target's spools: at most one is filled at a time, and old ones are thrown away."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, for nobody else's eyes: it holds e-mail addresses."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._held: int | None = None

    def take(self, asked: dict[str, Any]) -> Spool:
        """Go on with a comparison of what is ASKED that was begun and not ended, or begin one."""
        self._held = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        alone = self._alone(self._held)
        for path in sorted(self.folder.glob("*.spool"), reverse=True):
            mine = alone and not path.stem.endswith(BESIDE)
            if mine and (begun := _unfinished(path, asked)) is not None:
                return begun
        if alone:
            self._tidy()
        spool = Spool(self.folder / f"{time.time_ns()}-{os.getpid()}{'' if alone else BESIDE}.spool")
        spool.note("asked", asked | {"format": FORMAT})
        return spool

    def release(self) -> None:
        """Let another run fill a spool."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    @staticmethod
    def _alone(held: int) -> bool:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another run fills one: this one has a spool of its own
            return False
        return True

    def _tidy(self) -> None:
        old = time.time() - KEEP_SECONDS
        for path in self.folder.glob("*.spool"):
            if _written_at(path) < old:
                for each in self.folder.glob(f"{path.name}*"):
                    each.unlink(missing_ok=True)
        for path in sorted(self.folder.glob("differences-*.jsonl"))[:-LISTINGS]:
            path.unlink(missing_ok=True)


def _unfinished(path: Path, asked: dict[str, Any]) -> Spool | None:
    if _written_at(path) < time.time() - GOES_ON_SECONDS:
        return None
    try:
        spool = Spool(path)
        if spool.noted("asked") == asked | {"format": FORMAT} and not spool.noted("complete"):
            return spool
        spool.close()
    except (sqlite3.DatabaseError, json.JSONDecodeError):  # half written, or by other code
        path.unlink(missing_ok=True)
    return None


def _written_at(path: Path) -> float:
    """Tell when a file was last written, or the log beside it, which SQLite writes first."""
    times = [0.0]
    for each in (path, path.with_name(f"{path.name}-wal")):
        with suppress(FileNotFoundError):
            times.append(each.stat().st_mtime)
    return max(times)
