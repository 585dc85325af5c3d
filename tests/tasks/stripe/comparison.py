"""A comparison without Prefect: the shop's tables on a real PostgreSQL beside the fake Stripe over a socket."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tasks.stripe.compare import Listing
from tasks.stripe.comparing import compared, compared_again
from tasks.stripe.decide_resync import wanted
from tasks.stripe.policies import ResyncPolicy
from tasks.stripe.reach import Reach
from tasks.stripe.repair import repaired
from tasks.stripe.sides import Sides, opened, sides_of
from tasks.stripe.spool import Spool
from tasks.stripe.state import Drift, Repaired
from tests.flows.stripe_drift import Drifted


class Died(BaseException):
    """The process is gone."""


class Mortal:
    """A database during whose writing the process dies: before or after the commit of one of its transactions."""

    def __init__(self, real: Any, number: int, *, committed: bool) -> None:
        self.real, self.number, self.committed, self.turn = real, number, committed, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    @contextmanager
    def writing(self) -> Iterator[Any]:
        self.turn += 1
        with self.real.writing() as connection:
            yield connection
            if self.turn == self.number and not self.committed:
                raise Died
        if self.turn == self.number:
            raise Died


class Comparing:
    """The steps of a resync on a shop, one by one."""

    def __init__(self, shop: Drifted, folder: Path) -> None:
        self.shop, self.folder = shop, folder
        self.runs = 0

    @property
    def at(self) -> Reach:
        return Reach("shop", self.shop.scene.account, self.shop.scene.database, self.folder)

    @contextmanager
    def begun(self, **policy: Any) -> Iterator[Sides]:
        form = ResyncPolicy(**{"workers": 4, **policy})
        with self.at.apis() as apis, opened(self.at, form, apis) as sides:
            yield sides

    def compare(self, say: Callable[[str, float], None] = lambda _said, _percent: None, **policy: Any) -> Drift:
        with self.begun(**policy) as sides:
            return compared(sides, Listing(self.folder / f"differences-{time.time_ns()}.jsonl"), say)

    def repair(self, drift: Drift, database: Any = None, **policy: Any) -> int:
        """Repair as run number so many; say how many rows were."""
        self.runs += 1
        operations = wanted(ResyncPolicy(**policy))
        tables = [table.table for table in drift.tables]
        with ExitStack() as stack:
            spool = Spool.of(Path(drift.spool))
            stack.callback(spool.close)
            done = repaired(database or self.at.database, spool, tables, operations, f"run {self.runs}")
        return sum(done.values())

    def again(self, drift: Drift, **policy: Any) -> Repaired:
        form = ResyncPolicy(**policy)
        plan: Any = SimpleNamespace(operations=wanted(form), as_of=drift.at)
        spool = Spool.of(Path(drift.spool))
        try:
            with self.at.apis() as apis:
                return compared_again(sides_of(self.at, form, apis, spool), plan, f"run {self.runs}")
        finally:
            spool.close()

    def heal(self, **policy: Any) -> tuple[Drift, Repaired]:
        drift = self.compare(**policy)
        self.repair(drift, **policy)
        return drift, self.again(drift, **policy)

    def forget(self) -> None:
        """Let nothing be left of earlier comparisons."""
        shutil.rmtree(self.folder, ignore_errors=True)


def rows_left(after: Repaired) -> int:
    """Count what differs still."""
    return sum(table.drift for table in after.tables)
