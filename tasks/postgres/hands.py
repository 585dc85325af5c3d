"""The two ways of moving a primary: Patroni where it manages the cluster, we ourselves where nobody does."""

from __future__ import annotations

from typing import Protocol

from tasks.postgres import managed, unmanaged
from tasks.postgres.reach import Reach
from tasks.postgres.state import FailoverPlan, MovePlan, SwitchoverPlan


class Hands(Protocol):
    """What either way of moving a primary can do."""

    def fence(self, at: Reach, plan: FailoverPlan) -> str:
        """Make another write of the old primary impossible."""

    def unfence(self, at: Reach, plan: FailoverPlan) -> str:
        """Give the old primary back."""

    def stop_receiving(self, at: Reach, plan: MovePlan) -> str:
        """Take the standbys off the old primary."""

    def receive_again(self, at: Reach, plan: MovePlan) -> str:
        """Let the standbys follow the old primary again."""

    def settle(self, at: Reach, plan: FailoverPlan) -> FailoverPlan:
        """Return the plan with the candidate that is right now that positions stand still."""

    def stop_primary(self, at: Reach, plan: SwitchoverPlan) -> str:
        """Stop the old primary and prove that the candidate has all of it."""

    def start_primary(self, at: Reach, plan: SwitchoverPlan) -> str:
        """Start the old primary again."""

    def promote(self, at: Reach, plan: MovePlan) -> str:
        """Make the candidate the primary."""

    def follow(self, at: Reach, plan: MovePlan) -> str:
        """Let the other standbys follow."""

    def demote(self, at: Reach, plan: SwitchoverPlan) -> str:
        """Let the old primary follow."""


HANDS: dict[str, Hands] = {"managed": managed, "unmanaged": unmanaged}
