"""What is filled in wrong is refused with a sentence that says what to mend, and nothing is touched."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from blocks.ledger.records import Run
from blocks.postgres import PostgresCluster
from tasks.model import Outcome
from tests.drills.ward import Ward
from tests.drills.witness import Picture, acts, assert_untouched
from tests.lab.ports import free_ports

pytestmark = pytest.mark.drill
PROCEDURES = ("postgres-failover", "postgres-switchover", "postgres-rejoin")


def refused(ward: Ward, procedure: str, policy: dict[str, Any] | None = None, **given: Any) -> Run:
    """PROCEDURE is refused, and nothing has changed but that a server may have written down who knocked."""
    before = Picture.of(ward.lab)
    run = ward.run(procedure, policy, **given)
    assert (run.outcome, acts(run)) == (Outcome.REFUSED, []), run.why
    assert_untouched(before, ward.lab, "position", "said")
    return run


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_missing_block(ward: Ward, procedure: str) -> None:
    """A target without a block is named, with the kind of block that it needs."""
    run = refused(ward, procedure, target="nobody")
    assert "There is no block nobody of the type Salvor PostgreSQL cluster" in run.why
    assert "create it under Blocks in the Prefect UI, or correct the name" in run.why


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_wrong_password(ward: Ward, procedure: str) -> None:
    """A password that the servers do not accept is told apart from servers that are gone."""
    ward.change_block(password=SecretStr("wrong"))
    run = refused(ward, procedure)
    assert "does not let Salvor in" in run.why
    assert "mend the block's user or password" in run.why
    assert "wrong" not in run.why


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_unreachable_nodes(ward: Ward, procedure: str) -> None:
    """When no node answers nobody is promoted, stopped or copied: it may be us who are cut off."""
    nodes = PostgresCluster.load(ward.target).nodes
    ports = free_ports(len(nodes))
    ward.change_block(nodes=[n.model_copy(update={"port": p}) for n, p in zip(nodes, ports, strict=True)])
    run = refused(ward, procedure)
    assert "No node answers" in run.why
    assert "n1, n2, n3" in run.why


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_cluster_of_one(ward: Ward, procedure: str) -> None:
    """A cluster of one has nobody to take over."""
    ward.change_block(nodes=PostgresCluster.load(ward.target).nodes[:1])
    assert "has one node: add its standbys to the PostgresCluster block" in refused(ward, procedure).why


@pytest.mark.parametrize(
    ("procedure", "policy", "says"),
    [
        ("postgres-failover", {"rpo_bytes": -1}, "policy.rpo_bytes: Input should be greater than or equal to 0"),
        ("postgres-failover", {"fences": ["prayer"]}, "policy.fences.0: Input should be 'process', 'power', 'sync'"),
        ("postgres-switchover", {"pause_seconds": "soon"}, "policy.pause_seconds: Input should be a valid number"),
        ("postgres-rejoin", {"nod": "n1"}, "policy.nod: Extra inputs are not permitted"),
    ],
)
def test_policy_out_of_range(ward: Ward, procedure: str, policy: dict[str, Any], says: str) -> None:
    """A policy that the form would not have let through, sent by the API with the validation off, is refused by us."""
    run = refused(ward, procedure, policy, validate=False)
    assert "The form was not filled in right" in run.why
    assert says in run.why
    assert "Correct it and run this again" in run.why


@pytest.mark.parametrize(
    ("procedure", "policy"),
    [
        ("postgres-failover", {"candidate": "n9"}),
        ("postgres-switchover", {"candidate": "n9"}),
        ("postgres-rejoin", {"node": "n9"}),
    ],
)
def test_unknown_node(ward: Ward, procedure: str, policy: dict[str, Any]) -> None:
    """A node that the block does not have is named, with those that it has; it is never replaced by another."""
    assert refused(ward, procedure, policy).why == "The block has no node n9: it has n1, n2, n3."
