"""Who is promoted when the standbys are not alike, and what a second run does after a first that could not finish."""

from __future__ import annotations

import pytest

from tasks.model import Outcome
from tests.drills.ward import Ward
from tests.drills.witness import Picture, acts, assert_rows_kept, assert_untouched
from tests.lab.app import App
from tests.lab.processes import wait_until

pytestmark = [pytest.mark.drill, pytest.mark.long]


def write_megabytes(ward: Ward, number: int) -> None:
    """Let the primary write so much WAL."""
    message = "pg_logical_emit_message(false, 'bulk', repeat('x', 1 << 20))"
    ward.lab.psql("n1", f"SELECT {message} FROM generate_series(1, {number})")


def test_lagging_candidate_is_refused_until_the_loss_is_agreed(async_ward: Ward) -> None:
    """A standby beyond rpo_bytes is not promoted; when losing that much is agreed it is, and what is lost was said."""
    lab = async_ward.lab
    with App(lab) as app:
        app.await_writes(50)
        for standby in ("n2", "n3"):
            lab.lag(standby, "stop")
        write_megabytes(async_ward, 2)
        app.await_writes(50)
        async_ward.record()
        lab.kill_node("n1")
        before = Picture.of(lab)
        refused = async_ward.run("postgres-failover")
        assert_untouched(before, lab)
        agreed = async_ward.run("postgres-failover", {"rpo_bytes": 16 << 20})
        app.await_writes(50)
    assert refused.outcome == Outcome.REFUSED
    assert "bytes behind n1 and `rpo_bytes` allows 1048576" in refused.why
    assert agreed.outcome == Outcome.RECOVERED, agreed.why
    plan = agreed.report["plan"]
    assert 2 << 20 < plan["lost_bytes"] <= 16 << 20
    assert f"At most {plan['lost_bytes']} bytes" in plan["loss"]
    told = app.summary()
    assert told.lost > 0, "the lab must really have lost what the plan said"
    assert told.duplicated == 0


def test_a_standby_that_does_not_apply_takes_over(ward: Ward) -> None:
    """Replay that is paused hides nothing: what a standby has received counts, and it is applied at the promotion."""
    lab = ward.lab
    with App(lab) as app:
        app.await_writes(50)
        for standby in ("n2", "n3"):
            lab.lag(standby, "pause")
        app.await_writes(50)
        lab.kill_node("n1")
        run = ward.run("postgres-failover")
        app.await_writes(50)
    assert run.outcome == Outcome.RECOVERED, run.why
    assert_rows_kept(app)


@pytest.mark.parametrize("ahead", [False, True], ids=["primary has passed it", "ahead of the primary"])
def test_diverged_standby_is_not_chosen(ward: Ward, ahead: bool) -> None:
    """A standby that wrote rows of its own is not promoted, however far it seems to be, and the report names it."""
    lab = ward.lab
    with App(lab) as first:
        first.await_writes(50)
        if not ahead:
            lab.diverge("n2")
            first.await_writes(200)
    if ahead:
        lab.diverge("n2")
    ward.record()
    lab.kill_node("n1")
    run = ward.run("postgres-failover", {"candidate": "n2", "follow_seconds": 1})
    with App(lab) as second:
        second.await_writes(50)
    assert lab.primaries() == ["n3"]
    if ahead:
        assert run.outcome == Outcome.RECOVERED, run.why
        assert "Left behind, for postgres-rejoin: n2 is ahead of the primary" in run.why
    else:
        assert run.outcome == Outcome.UNVERIFIED
        assert "n2 follows n3 (seen: n2: standby on timeline 1)" in run.why
    assert_rows_kept(first, second)


def test_standby_that_was_promoted_on_its_own_is_named(ward: Ward) -> None:
    """When a standby is on a timeline that nobody saw a primary on, people say which is right; it comes back later."""
    lab = ward.lab
    with App(lab) as app:
        app.await_writes(50)
        lab.diverge("n3", new_timeline=True)
        app.await_writes(50)
        ward.record()
        lab.kill_node("n1")
        before = Picture.of(lab)
        refused = ward.run("postgres-failover")
        assert_untouched(before, lab)
        lab.nodes["n3"].stop()
        run = ward.run("postgres-failover")
        app.await_writes(50)
        back = ward.run("postgres-rejoin", {"node": "n3"})
    assert refused.outcome == Outcome.REFUSED
    assert "n3 was promoted since. If that was a mistake, stop n3" in refused.why
    assert run.outcome == Outcome.RECOVERED, run.why
    assert lab.primaries() == ["n2"]
    assert back.outcome == Outcome.RECOVERED, back.why
    assert lab.psql("n3", "SELECT count(*) FROM orders WHERE client = 'diverged'", "orders") == [(0,)]
    assert_rows_kept(app)


def test_candidate_that_dies_is_followed_by_the_next(ward: Ward) -> None:
    """A candidate that dies while it is promoted needs a look; run again, the next one takes over, and it is fenced."""
    lab = ward.lab
    with App(lab) as first:
        first.await_writes(50)
    wait_until(lambda: level(ward), 10, "both standbys to have everything")
    ward.record()
    lab.doom("n2")
    lab.kill_node("n1")
    failed = ward.run("postgres-failover", {"candidate": "n2"})
    again = ward.run("postgres-failover")
    with App(lab) as second:
        second.await_writes(50)
    assert failed.outcome == Outcome.NEEDS_HUMAN
    assert "n2 died while it was promoted" in failed.why
    assert "Run this again" in failed.why
    assert again.outcome == Outcome.RECOVERED, again.why
    assert lab.primaries() == ["n3"]
    assert ["n2", "process"] in again.report["plan"]["fences"]
    assert (lab.nodes["n2"].data / "standby.signal").exists(), "it would come back as a second primary"
    back = [ward.run("postgres-rejoin", {"node": name}) for name in ("n1", "n2")]
    assert [run.outcome for run in back] == [Outcome.RECOVERED] * 2, [run.why for run in back]
    assert lab.streaming("n3") == ["n1", "n2"]
    assert_rows_kept(first, second)


def level(ward: Ward) -> bool:
    position = "SELECT pg_last_wal_receive_lsn()"
    return ward.lab.psql("n2", position) == ward.lab.psql("n3", position)


def test_pooler_that_is_down_is_led_over_later(ward: Ward) -> None:
    """A pooler that is down does not stop the promotion; the run says so, and the next one finishes the route."""
    lab = ward.lab
    with App(lab) as app:
        app.await_writes(50)
        lab.pooler_down()
        lab.kill_node("n1")
        first = ward.run("postgres-failover")
        lab.pooler_up()
        second = ward.run("postgres-failover")
        app.await_writes(50)
    assert first.outcome == Outcome.UNVERIFIED
    assert f"{ward.target}-orders-pooler sends clients to {lab.primary()}" in first.why
    assert "is not listening" in first.why
    assert second.outcome == Outcome.RECOVERED, second.why
    assert_rows_kept(app)


def test_second_failover_within_the_flap_window_is_refused(ward: Ward) -> None:
    """A cluster that fails over again so soon is looked at by a person, who may lower min_interval_seconds."""
    lab = ward.lab
    with App(lab) as app:
        app.await_writes(50)
        lab.kill_node("n1")
        assert ward.run("postgres-failover").outcome == Outcome.RECOVERED
        assert ward.run("postgres-rejoin").outcome == Outcome.RECOVERED
        first = lab.primary()
        ward.record(first)
        lab.kill_node(first)
        before = Picture.of(lab)
        refused = ward.run("postgres-failover")
        assert_untouched(before, lab)
        agreed = ward.run("postgres-failover", {"min_interval_seconds": 0})
        app.await_writes(50)
    assert refused.outcome == Outcome.REFUSED
    assert "Flap breaker" in refused.why
    assert "lower min_interval_seconds to go on" in refused.why
    assert acts(refused) == []
    assert agreed.outcome == Outcome.RECOVERED, agreed.why
    assert_rows_kept(app)
