"""Finish what a dead process left: orphaned runs, ends that Prefect does not know, parcels in the outbox.

Called once a second by every sentinel; `python -m flows.triggers.sweep [--once]` does it by hand. It may be killed
between any two of its lines: what it does is either one transaction of the ledger or something that may be repeated.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from threading import Thread

from blocks.errors import SalvorError
from blocks.ledger import claims, orphans, outbox, runs
from blocks.ledger.block import Ledger
from blocks.ledger.records import Ending, Parcel, Run
from blocks.prefect_runs import PrefectRuns, Runs, Unstartable
from flows.procedure import RESUMES
from flows.triggers.notices import deliver_notices
from tasks.guard import ledger as load_ledger
from tasks.model import Frozen, Outcome
from tasks.report import artifact_key
from tasks.verdict import operation_of

LOG = logging.getLogger("salvor.sweep")
EVERY_SECONDS = 1.0
PRUNE_EVERY_SECONDS = 3600.0
OUTCOMES = {outcome.value for outcome in Outcome}


class Swept(Frozen):
    """What one turn did."""

    dead: tuple[str, ...] = ()  #: runs that were declared dead
    delivered: int = 0
    settled: int = 0


class Sweeper:
    """Sweeps turn by turn; notifications, which may be slow, go out beside it."""

    def __init__(
        self, ledger: Ledger, prefect: Runs | None = None, tell: Callable[[Ledger], object] = deliver_notices
    ) -> None:
        """Sweep LEDGER, and tell PREFECT and, with TELL, people."""
        self.ledger = ledger
        self.tell = tell
        self.prefect = prefect or PrefectRuns()
        self._postman: Thread | None = None
        self._pruned = time.monotonic()

    def turn(self) -> Swept:
        """Do what is due. Never raises because of Prefect; the ledger's errors are the caller's."""
        dead = orphans.sweep(self.ledger)
        for run in dead:
            LOG.warning("Run %s (%s on %s) is dead.", run.id, run.procedure, run.target)
        delivered = sum(self._delivered(parcel) for parcel in outbox.due(self.ledger, kinds=("run", "event")))
        settled = sum(self._settled(run) for run in orphans.unsettled(self.ledger))
        self._notify()
        self._prune()
        return Swept(dead=tuple(run.id for run in dead), delivered=delivered, settled=settled)

    def drain(self, seconds: float = 60.0) -> None:
        """Wait for the notifications that are under way."""
        if self._postman is not None:
            self._postman.join(timeout=seconds)

    def _delivered(self, parcel: Parcel) -> bool:
        try:
            if parcel.kind == "run":
                resume(self.ledger, self.prefect, runs.find(self.ledger, parcel.key))
            else:
                self.prefect.post_event(parcel.payload)
        except SalvorError as error:
            LOG.warning("%s %s was not delivered: %s", parcel.kind, parcel.key, error)
            outbox.failed(self.ledger, parcel.id, str(error))
            return False
        outbox.sent(self.ledger, parcel.id)
        return True

    def _settled(self, run: Run) -> bool:
        try:
            settle(self.ledger, self.prefect, run)
        except SalvorError as error:
            LOG.warning("Prefect does not know yet how run %s ended: %s", run.id, error)
            return False
        return True

    def _notify(self) -> None:
        if self._postman is None or not self._postman.is_alive():
            self._postman = Thread(target=self.tell, args=(self.ledger,), name="notices", daemon=True)
            self._postman.start()

    def _prune(self) -> None:
        if time.monotonic() - self._pruned > PRUNE_EVERY_SECONDS:
            self._pruned = time.monotonic()
            outbox.prune(self.ledger)
            claims.prune(self.ledger)


def resume(ledger: Ledger, prefect: Runs, run: Run) -> None:
    """Start a dead run's deployment again with the same parameters, unless that is not wanted."""
    if run.ended_at is not None:
        return
    seen = prefect.standing(run.flow_run_id)
    if seen is not None and seen.cancelled:
        if not seen.over:
            prefect.cancel(run.flow_run_id)
        orphans.give_up(ledger, run.id, _cancelled(run), cancelled=True)
    elif seen is not None and seen.over and seen.name in OUTCOMES:
        ending = Ending(outcome=seen.name, why=seen.message, operation=operation_of(Outcome(seen.name)))
        orphans.end_as_told(ledger, run.id, ending)
    else:
        if seen is not None and not seen.over:
            prefect.crash(run.flow_run_id, "Its process gave no sign of life; it is started again as a new run.")
        _start_again(ledger, prefect, run)


def _start_again(ledger: Ledger, prefect: Runs, run: Run) -> None:
    try:
        new = prefect.start(run.deployment_id or "", run.parameters, f"{RESUMES}{run.id}")
    except Unstartable as error:
        orphans.give_up(ledger, run.id, f"The process of this run died, and it could not be started again. {error}")
    else:
        LOG.warning("Run %s goes on for the dead run %s.", new, run.id)


def _cancelled(run: Run) -> str:
    if run.changed_at is None:
        return "A person cancelled this run before it had changed anything."
    return (
        "A person cancelled this run after it had begun to change things. It is not started again by itself:"
        " look at its timeline, then run it again to bring it to an end."
    )


def settle(ledger: Ledger, prefect: Runs, run: Run) -> None:
    """See to it that Prefect shows the end, and the report, that the ledger holds."""
    seen = prefect.standing(run.flow_run_id)
    if seen is not None:
        if run.reported_at is None and run.markdown:
            said = f"{run.outcome}: {run.why}"
            prefect.report(run.flow_run_id, artifact_key(run.procedure, run.target), run.markdown, said)
            runs.reported(ledger, run.id)
        if not seen.cancelled and seen.name not in OUTCOMES:
            outcome = Outcome(run.outcome or Outcome.NEEDS_HUMAN)
            prefect.end(run.flow_run_id, outcome, run.why, succeeded=outcome.succeeded)
    runs.settled(ledger, run.id)


def sweep_once(ledger: Ledger) -> Swept:
    """Sweep one turn, notifications included."""
    sweeper = Sweeper(ledger)
    swept = sweeper.turn()
    sweeper.drain()
    return swept


def main(arguments: list[str]) -> int:
    """Sweep for ever, or once."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        ledger = load_ledger()
        if arguments == ["--once"]:
            sys.stdout.write(sweep_once(ledger).model_dump_json() + "\n")
            return 0
    except SalvorError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return _for_ever(Sweeper(ledger))


def _for_ever(sweeper: Sweeper) -> int:
    while True:
        try:
            sweeper.turn()
        except SalvorError as error:
            LOG.warning("The sweep did not get through, trying again: %s", error)
        except KeyboardInterrupt:
            return 0
        time.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
