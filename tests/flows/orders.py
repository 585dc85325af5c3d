"""A real cluster for the tests of the PostgreSQL flows, known to the session's Prefect server as `orders`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect import flow

from blocks.errors import StandDown
from blocks.ledger.block import Ledger
from flows.procedure import concludes
from tasks.guard import approve
from tasks.model import Decision, Policy, Report
from tasks.postgres.probe import observe_cluster
from tasks.postgres.reach import Reach, reach
from tasks.postgres.state import Cluster, MovePlan
from tests.lab import blocks as lab_blocks
from tests.lab.cluster import Lab
from tests.lab.records import record

POLICY = Policy()
Decide = Callable[[Cluster], Decision[MovePlan]]


@contextmanager
def cluster(ledger: Ledger, **more: Any) -> Iterator[Lab]:
    """Bring up a lab, save its blocks, except the ledger's, which the test has, and record where its primary is."""
    with Lab(fast=True, proxies=False, **more) as lab:
        for name, block in lab_blocks.describe(lab):
            if not isinstance(block, Ledger):
                block.save(name, overwrite=True)
        record(ledger, "recovery.postgres.orders", lab)
        yield lab


def stopped_half_way(decide: Decide, *acts: Callable[[Reach, MovePlan], str]):
    """Run ACTS as a procedure that gives up after the last of them, before its point of no return."""

    @flow(name="half-way", retries=0)
    @concludes
    def half_way(target: str = "orders", policy: Policy = POLICY) -> Report:
        at = reach(target)
        plan = approve(decide(observe_cluster(at)), policy, lambda: decide(observe_cluster(at)))
        for act in acts:
            act(at, plan)
        raise StandDown("That is far enough.")

    return half_way(return_state=True)


def steps(state) -> list[str]:
    """Name the steps of a run that has ended."""
    return [step.name for step in state.result(raise_on_failure=False).timeline]
