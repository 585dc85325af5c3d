"""Rows of a real cluster are looked at, on a standby, and repaired as fast as its standbys bear, by the deployments."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Timer

import pytest
from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.rule_pack import RulePack
from tasks.model import Outcome
from tests.drills.rows import tell_of_rows
from tests.drills.ward import Ward
from tests.lab.node import PASSWORD

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


@pytest.fixture
def stray(ward: Ward) -> Iterator[str]:
    """Three rows that are wrong, and a standby that has received everything and applies nothing; give the target."""
    name, node = f"{ward.target}-stray", ward.lab.nodes["n1"]
    url = SecretStr(f"postgresql://postgres:{PASSWORD}@{node.host}:{node.port}/orders")
    AppDatabase(url=url).save(name, overwrite=True)
    rule = "{name: strays of nobody, kind: missing, table: stray, columns: [owner], repair: quarantine}"
    RulePack(rules=f"rules: [{rule}]").save(name, overwrite=True)
    ward.lab.psql("n1", "CREATE TABLE stray (id int PRIMARY KEY, owner text)", "orders")
    ward.lab.psql("n1", "INSERT INTO stray SELECT generate_series(1, 3)", "orders")
    ward.lab.psql("n3", "SELECT pg_wal_replay_pause()")
    ward.lab.psql("n1", "SELECT pg_logical_emit_message(false, 'drill', repeat('x', 4000000), true)", "orders")
    yield name
    ward.lab.psql("n3", "SELECT pg_wal_replay_resume()")
    ward.lab.psql("n1", "DROP TABLE stray", "orders")
    ward.lab.psql("n1", "DROP SCHEMA IF EXISTS salvor CASCADE", "orders")


def test_a_repair_waits_for_a_standby_that_is_behind_and_stops_when_it_is_far_behind(ward: Ward, stray: str) -> None:
    """Beyond one limit no row is touched, and it is said why; beyond the other it goes on when that has caught up."""
    far = ward.run("consistency-repair", {"dry_run": False, "abort_lag_mb": 1}, target=stray)
    rows = "SELECT count(*) FROM stray"
    assert (far.outcome, ward.lab.psql("n1", rows, "orders")) == (Outcome.UNVERIFIED, [(3,)])
    assert "it was stopped, because a standby is 4 MB behind (abort_lag_mb)" in far.why
    timer = Timer(4.0, lambda: ward.lab.psql("n3", "SELECT pg_wal_replay_resume()"))
    timer.start()
    waited = ward.run("consistency-repair", {"dry_run": False, "max_lag_mb": 1}, target=stray)
    assert timer.finished.is_set(), "it did not wait"
    assert (waited.outcome, ward.lab.psql("n1", rows, "orders")) == (Outcome.RECOVERED, [(0,)])
