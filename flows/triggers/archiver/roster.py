"""Whose archives are kept now: the blocks there are, and one thread for each."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from blocks.backup_repository import BackupRepository, Scratch
from blocks.errors import Misconfigured, SalvorError
from blocks.filled_in import block_names
from blocks.ledger.block import Ledger
from blocks.postgres import PostgresCluster
from flows.triggers.archiver.announce import Announcer
from flows.triggers.archiver.decide import Pace, View
from flows.triggers.archiver.keeper import Keeper, wall_clock
from flows.triggers.loading import load_block
from tasks.backups.reach import Reach

LOG = logging.getLogger("salvor.archiver")


@dataclass(frozen=True)
class Charge:
    """One archive that is kept."""

    at: Reach
    drills: bool

    @property
    def described(self) -> str:
        """What makes a difference to how it is kept."""
        return repr((self.at.cluster.conninfos(), self.at.cluster.nodes, self.at.block, self.drills))


def charges(targets: list[str], before: dict[str, Charge]) -> dict[str, Charge]:
    """Load the blocks of TARGETS, or of every BackupRepository there is; BEFORE is what was read the last time.

    A block that is half filled in, as Prefect's form saves it, must not keep us from the others.
    """
    found, drilled = {}, set(block_names(Scratch))
    for name in targets or block_names(BackupRepository):
        try:
            cluster, block = load_block(PostgresCluster, name), load_block(BackupRepository, name)
            found[name] = Charge(Reach(name, cluster, block), drills=name in drilled)
        except Misconfigured as error:
            if targets and name not in before:
                raise
            LOG.error("%s: %s", name, error)  # noqa: TRY400 - the sentence says it all
            found |= {name: before[name]} if name in before else {}
    return found


class Post:
    """One archive, looked at again and again in a thread of its own: a host that hangs holds up no other."""

    def __init__(self, charge: Charge, ledger: Ledger, pace: Pace) -> None:
        """Begin."""
        self.charge = charge
        self.ledger = ledger
        self.pace = pace
        self._stop = threading.Event()
        self._said = ""
        self._keeper: Keeper | None = None
        self._announcer: Announcer | None = None
        name = f"archive-{charge.at.target}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """End after the look that is under way; what streams goes on streaming."""
        self._stop.set()

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            pause = self._turn()

    def _turn(self) -> float:
        try:
            pause = self._look()
        except SalvorError as error:
            if str(error) != self._said:
                LOG.error("%s: %s", self.charge.at.target, error)  # noqa: TRY400 - the sentence says it all
            self._said = str(error)
        except Exception:
            LOG.exception("%s: a look failed; the next one follows.", self.charge.at.target)
        else:
            self._said = ""
            return pause
        return self.pace.interval_seconds

    def _look(self) -> float:
        at = self.charge.at
        voice = self._announcer or Announcer(self.ledger, at.target, at.block, drills=self.charge.drills)
        self._announcer = voice
        if not at.block.stream_wal:
            voice.reckons(View(at=wall_clock()))
            return self.pace.interval_seconds
        keeper = self._keeper = self._keeper or Keeper(at, self.ledger, self.pace)
        try:
            return keeper.turn()
        finally:
            voice.streams(keeper)
            voice.reckons(keeper.view)


class Roster:
    """Whose archives are kept now."""

    def __init__(self, ledger: Ledger, pace: Pace) -> None:
        """Keep nobody's yet."""
        self.ledger = ledger
        self.pace = pace
        self._posts: dict[str, Post] = {}

    def follow(self, wanted: dict[str, Charge]) -> None:
        """Begin and end until it is what is WANTED."""
        for target, post in list(self._posts.items()):
            if target not in wanted or wanted[target].described != post.charge.described:
                self._posts.pop(target).leave()
        for target in wanted.keys() - self._posts.keys():
            self._posts[target] = Post(wanted[target], self.ledger, self.pace)
            LOG.info("%s: its archive is kept.", target)

    def leave(self) -> None:
        """End all."""
        self.follow({})
