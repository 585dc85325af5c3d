"""Rows of a real cluster are looked at, on a standby, by the deployments as they are."""

from __future__ import annotations

import pytest

from tasks.model import Outcome
from tests.drills.rows import tell_of_rows
from tests.drills.ward import Ward

pytestmark = pytest.mark.drill


def test_rows_are_looked_at_on_a_standby_that_shows_them_now(ward: Ward) -> None:
    """The standby is asked, and not the primary; while it is behind the look is refused, and that is said."""
    rows = tell_of_rows(ward, replica="n3")
    seen = ward.run("consistency-check", {"alert": False}, target=rows)
    ward.lab.psql("n3", "SELECT pg_wal_replay_pause()")
    try:
        ward.lab.psql("n1", "SELECT pg_logical_emit_message(false, 'drill', 'a standby that is behind')")
        ward.lab.psql("n1", "SELECT pg_switch_wal()")
        behind = ward.run("consistency-check", {"max_replica_lag_seconds": 0.5}, target=rows)
    finally:
        ward.lab.psql("n3", "SELECT pg_wal_replay_resume()")
    assert (seen.outcome, seen.why) == (Outcome.NOTHING_TO_DO, "All 2 rules hold.")
    assert behind.outcome == Outcome.REFUSED
    assert "did not catch up within 0.5 s" in behind.why
    assert f":{ward.lab.nodes['n3'].port}, which the rule pack looks at" in behind.why


def test_rules_are_proposed_and_their_look_is_at_the_primary_without_a_standby(ward: Ward) -> None:
    """Suggest needs no rules of anybody; a pack without a standby is looked at where the rows are written."""
    rows = tell_of_rows(ward)
    proposed = ward.run("consistency-suggest", target=rows)
    seen = ward.run("consistency-check", {"alert": False}, target=rows)
    assert proposed.outcome == Outcome.NOTHING_TO_DO
    assert proposed.why.startswith("0 orphan rules and 1 sequence rules are proposed for the 2 tables of public.")
    assert (seen.outcome, seen.why) == (
        Outcome.UNVERIFIED,
        "1 of 2 rules are broken: looks at a primary: 1.",
    )
