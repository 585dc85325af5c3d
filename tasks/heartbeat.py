"""The thread that says that a run is alive, and stops saying it when it is not."""

from __future__ import annotations

from threading import Event, Thread, current_thread

from blocks.errors import SalvorError
from blocks.ledger import runs
from blocks.ledger.block import Ledger
from tasks.report import log


class Heartbeat(Thread):
    """Renews the run and its lease every third of `lease_seconds`, for as long as the thread it watches lives."""

    def __init__(self, ledger: Ledger, run_id: str) -> None:
        """Watch over the thread that calls this."""
        super().__init__(name=f"heartbeat-{run_id}", daemon=True)
        self._ledger = ledger
        self._run_id = run_id
        self._body = current_thread()
        self._stopped = Event()

    def run(self) -> None:
        """Renew until told to stop, until the body is dead, or until the ledger says that somebody took over."""
        while not self._stopped.wait(self._ledger.lease_seconds / 3):
            if not self._body.is_alive() or not self._renewed():
                return

    def _renewed(self) -> bool:
        try:
            return runs.renew(self._ledger, self._run_id)
        except SalvorError as error:
            log(f"The lease could not be renewed, trying again: {error}", warn=True)
            return True

    def stop(self) -> None:
        """Stop renewing; on return no renewal is under way, or the ledger does not answer."""
        self._stopped.set()
        self.join(timeout=self._ledger.lease_seconds / 3)
