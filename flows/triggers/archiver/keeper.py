"""Keeps the WAL of one cluster streaming into its repository, and tells what it cannot mend."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from blocks.errors import SalvorError
from blocks.ledger import backups, intake, positions
from blocks.ledger.block import Ledger
from blocks.ledger.records import Position
from blocks.native_backup import SLOT
from blocks.node_control import PatroniControl
from blocks.postgres_session import ask_all, run_sql
from flows.triggers.archiver.decide import Course, Pace, Server, Slot, View, decide, wanting
from tasks import queries
from tasks.backups.choose import along, path_to
from tasks.backups.reach import Reach, quoted
from tasks.backups.taking import keep_wal

LOG = logging.getLogger("salvor.archiver")
SQL = {
    name: text.replace("%(slot)s", quoted(SLOT))
    for name, text in queries.load(Path(__file__).with_name("look.sql")).items()
}
LOOK_SECONDS = 2.0
SPARE_SECONDS = 10.0


def wall_clock() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


class Keeper:
    """The archiver's hand on one target."""

    def __init__(self, reach: Reach, ledger: Ledger, pace: Pace, clock: Callable[[], datetime] = wall_clock) -> None:
        """Begin where the ledger's record ends, so that WAL which is late is late for us too."""
        self.at = reach
        self.ledger = ledger
        self.pace = pace
        self.clock = clock
        self.hole: tuple[int, int] | None = None
        self.surveyed_at: datetime | None = None
        self.view = View(at=clock())
        self._spared_at = datetime.min.replace(tzinfo=UTC)
        last = positions.last(ledger, self.resource)
        at = self.view.at
        self.course = Course.begin(at, last.at, last.timeline, last.lsn) if last else Course.begin(at)

    @property
    def resource(self) -> str:
        """What the ledger calls the archive."""
        return f"{positions.ARCHIVE}{self.at.target}"

    def turn(self) -> float:
        """Look once, mend what can be mended, and say in how many seconds to look again."""
        self.view = self._look()
        before = self.course
        self.course = before.note(self.view, self.pace)
        if self.course.streams and not before.streams:
            LOG.info("%s: WAL arrives.", self.at.target)
        primary = wanting(self.course, self.view, self.pace)
        if primary:
            self._mend(primary)
        if self.course.covered_at != before.covered_at:
            self._record()
        if self.course.streams:
            self._spare()
            self.survey()
        return self.pace.interval_seconds if self.course.streams else self.pace.haste_seconds

    def _look(self) -> View:
        addresses = {node.name: self.at.conninfo(node.name) for node in self.at.cluster.nodes}
        answers = ask_all({name: (where, SQL["look"]) for name, where in addresses.items()}, LOOK_SECONDS)
        servers = (_server(name, answer.rows[0]) for name, answer in answers.items() if answer.ok)
        return View(at=self.clock(), servers=tuple(servers))

    # --- mending

    def _mend(self, primary: Server) -> None:
        if intake.is_operated_on(self.ledger, self.at.resource):
            said = "a run has the cluster in its hands, and the archive is left alone until that has ended"
            self.course = self.course.because(said, held=True)
            return
        before = self.course
        self.course = before.tried(self.pace)
        try:
            self._start(primary, before)
        except SalvorError as error:
            LOG.error("%s: %s", self.at.target, error)  # noqa: TRY400 - the sentence says it all
            self.course = self.course.because(str(error))

    def _start(self, primary: Server, before: Course) -> None:
        repository = self.at.repository
        inlet = repository.inlet()
        if inlet.frozen:
            said = f"the repository is frozen ({inlet.frozen}), and is left alone until that run was brought to its end"
            self.course = before.because(said).waits(self.pace.pause_seconds)
            return
        mend = decide(primary, inlet, before.tries, repository.segment_bytes)
        self.course = self.course.because(mend.why)
        keep_wal(self.at, primary.node)
        said = repository.stream(self.at.sources(), primary.system_identifier, anew=mend.anew, ending=inlet.receivers)
        LOG.warning("%s: WAL of %s did not arrive: %s. Now: %s.", self.at.target, primary.node, mend.why, said)
        self.surveyed_at = None

    # --- what goes on while all is well

    def _record(self) -> None:
        course = self.course
        position = Position(
            resource=self.resource, node=SLOT, lsn=course.flushed, timeline=course.timeline, at=course.covered_at
        )
        positions.record(self.ledger, position)

    def _spare(self) -> None:
        """Let every standby keep what the archive does not have: where it is promoted, nothing is missing then."""
        if self.view.at - self._spared_at < timedelta(seconds=SPARE_SECONDS):
            return
        self._spared_at = self.view.at
        advance = SQL["spare"].replace(
            "%(lsn)s", f"'{self.course.flushed >> 32:X}/{self.course.flushed & 0xFFFFFFFF:X}'"
        )
        for server in self.view.servers:
            if server.primary or isinstance(self.at.node(server.node).control, PatroniControl):
                continue
            try:
                keep_wal(self.at, server.node)
                run_sql(self.at.conninfo(server.node), advance, deadline=LOOK_SECONDS)
            except SalvorError as error:
                LOG.warning("%s: %s keeps no WAL for the archive: %s", self.at.target, server.node, error)

    def survey(self) -> None:
        """Look through the whole repository, now and then: what it holds, and whether WAL is missing."""
        if self.surveyed_at and self.view.at - self.surveyed_at < timedelta(seconds=self.pace.survey_seconds):
            return
        listing = self.at.repository.look()
        if listing.sets:
            backups.keep(self.ledger, self.at.target, listing.sets)
        good = [each for each in listing.sets if each.good]
        wal = along(listing.archive, path_to(listing.archive, self.course.timeline))
        first = good[-1].start_lsn // listing.archive.segment_bytes if good else wal.last
        self.hole = wal.next_hole(first) if wal.last >= first else None
        self.surveyed_at = self.view.at


def _server(name: str, row: dict[str, object]) -> Server:
    slot = Slot.model_validate(row["slot"]) if row["slot"] else None
    return Server.model_validate({"node": name} | row | {"slot": slot})
