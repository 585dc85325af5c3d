"""What the archiver tells: every trouble once, and once when it is over, however many archivers there are."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from blocks.backup_repository import BackupRepository
from blocks.ledger import backups, intake, troubles
from blocks.ledger.backups import Standing
from blocks.ledger.block import Ledger
from blocks.ledger.records import Notification
from flows.triggers.archiver.decide import View
from flows.triggers.archiver.keeper import Keeper
from flows.triggers.archiver.troubles import (
    Bounds,
    Kept,
    Trouble,
    Troubles,
    of_drills,
    of_hole,
    of_sets,
    of_slot,
    of_wal,
)

LOG = logging.getLogger("salvor.archiver")
RECKON_SECONDS = 60.0


class Announcer:
    """One archiver's voice about one target."""

    def __init__(self, ledger: Ledger, target: str, block: BackupRepository, *, drills: bool) -> None:
        """Speak about TARGET; DRILLS: there is a place for them, so they are wanted."""
        self.ledger = ledger
        self.target = target
        self.bounds = Bounds(slot_bytes=block.slot_bytes, set_days=block.set_days, drill_days=block.drill_days)
        self.drills = drills
        self._known: dict[str, str] = {}  #: what is told of each trouble; "" when it is over
        self._reckoned_at: datetime | None = None

    def streams(self, keeper: Keeper) -> None:
        """Tell how the stream goes."""
        view, course = keeper.view, keeper.course
        found = of_wal(self.target, course, view, keeper.pace)
        found |= of_slot(self.target, view, self.bounds)
        found |= of_hole(self.target, keeper.hole, known=keeper.surveyed_at is not None)
        self._tell(found)

    def reckons(self, view: View) -> None:
        """Tell, now and then, whether the newest set or the last drill is too old."""
        if self._reckoned_at and view.at - self._reckoned_at < timedelta(seconds=RECKON_SECONDS):
            return
        stands = backups.standings(self.ledger).get(self.target, Standing())
        kept = Kept(
            known_since=intake.first_asked(self.ledger, f"archive/{self.target}", "archiver"),
            newest_at=stands.newest_at,
            drills=self.drills or stands.practised_since is not None,
            passed_at=stands.passed_at,
            practised_since=stands.practised_since,
        )
        at = view.at
        self._tell(of_sets(self.target, kept, at, self.bounds) | of_drills(self.target, kept, at, self.bounds))
        self._reckoned_at = at

    def _tell(self, found: Troubles) -> None:
        for name, trouble in found.items():
            said = trouble.title if trouble else ""
            if self._known.get(name) == said:
                continue
            if trouble:
                self._begin(name, trouble)
            else:
                self._end(name)
            # Only now: when the ledger failed on the way, the next look tries again.
            self._known[name] = said

    def _begin(self, name: str, trouble: Trouble) -> None:
        note = self._note(name, trouble.title).model_copy(update={"body": trouble.body, "urgency": trouble.urgency})
        if troubles.begin(self.ledger, f"{self.target}/{name}", note):
            LOG.warning("%s. %s", trouble.title, trouble.body.replace("\n\n", " "))

    def _end(self, name: str) -> None:
        about = f"archive of {self.target}: {name}"
        note = self._note(name, f"Over: {ENDS[name].format(self.target)}").model_copy(update={"resolves": True})
        if troubles.end(self.ledger, f"{self.target}/{name}", note):
            LOG.warning("%s (%s)", note.title, about)

    def _note(self, name: str, title: str) -> Notification:
        return Notification(
            urgency="inform",
            title=title,
            body="",
            about=f"archive of {self.target}: {name}",
            resource=f"recovery.archive.{self.target}",
        )


#: How each trouble ends, in words.
ENDS = {
    "late": "{}: all that was written until now is in the backup repository",
    "slot": "{}: no server keeps too much WAL for the archive",
    "unbounded": "{}: the WAL that is kept for the archive is bounded",
    "hole": "{}: everything since the newest good set can be restored",
    "sets": "{}: there is a new good backup",
    "drills": "{}: a backup drill has passed",
}
