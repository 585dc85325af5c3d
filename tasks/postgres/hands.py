"""The two ways of moving a primary: Patroni where it manages the cluster, we ourselves where nobody does."""

from __future__ import annotations

from typing import Protocol

from tasks.postgres.reach import Reach
from tasks.postgres.state import FailoverPlan


class Hands(Protocol):
    """What either way of moving a primary can do."""

    def fence(self, at: Reach, plan: FailoverPlan) -> str:
        """Make another write of the old primary impossible."""
