"""The way back: what it gives back and what it leaves, and what it says of rows that are not as they were."""

from __future__ import annotations

from types import SimpleNamespace

import psycopg
import pytest

from tasks.consistency import fences, undo_act
from tests.tasks.consistency.stage import Stage, look_of
from tests.tasks.consistency.test_repair import COPIED, ORPHANS, SHOP

TWICE = (
    COPIED
    + """
  - {name: jobs that are done, kind: invalid, table: jobs, when: [{column: state, holds: equal, value: u3}],
     repair: set, values: {state: done}}
  - {name: jobs that are nobody's, kind: invalid, table: jobs, when: [{column: state, holds: equal, value: u4}],
     repair: quarantine}
"""
)
TOUCH = """
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.state := 'touched'; RETURN NEW; END $$;
CREATE TRIGGER touching BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION touch();
"""


def twice(stage: Stage) -> None:
    """Rows 3 and 4 are wrong by two rules each once the first rule has changed them."""
    stage.clear(SHOP + "UPDATE jobs SET state = 'u' || id WHERE id <= 2")
    stage.rules = TWICE
    stage.sql("UPDATE jobs SET state = 'u3' WHERE id = 25; UPDATE jobs SET state = 'u4' WHERE id = 26")


def test_what_two_rules_changed_one_after_the_other_comes_back_in_one_undo(stage):
    """Nothing of it counts as changed by somebody else, neither in the plan nor afterwards."""
    twice(stage)
    before = stage.hashes()
    runs = [look_of(stage.repair()), look_of(stage.repair())]
    assert stage.sql("SELECT id, state FROM jobs WHERE id IN (3, 25) ORDER BY 1") == [(3, "done"), (25, "done")]
    for run in reversed(runs):
        undone = stage.undo(run)
        assert (undone.outcome, undone.unverified) == ("Recovered", ()), undone
        assert "changed again" not in undone.why
    assert stage.hashes() == before


def test_a_row_that_one_run_changed_twice_is_as_before_it(stage):
    """The newer change is taken back first; the older one stands as long as the newer one does."""
    stage.clear(SHOP)
    stage.rules = (
        COPIED
        + """
  - {name: odd users, kind: invalid, table: jobs, when: [{column: user_id, holds: less, value: 4}],
     repair: set, values: {user_id: 20, state: x}}
"""
    )
    before = stage.hashes()
    run = look_of(stage.repair())
    assert stage.sql("SELECT user_id, state FROM jobs WHERE id = 3") == [(20, "x")]
    undone = stage.undo(run)
    assert undone.why == f"23 rows are given back as they were before run {run}.", undone
    assert (undone.outcome, undone.unverified, stage.hashes()) == ("Recovered", (), before)


def test_only_the_older_of_two_changes_is_not_given_back(stage):
    """Asked for one rule alone, rows that another rule changed afterwards are left and listed."""
    stage.clear(SHOP)
    stage.rules = (
        COPIED
        + """
  - {name: odd users, kind: invalid, table: jobs, when: [{column: user_id, holds: less, value: 4}],
     repair: set, values: {user_id: 20, state: x}}
"""
    )
    run = look_of(stage.repair())
    undone = stage.undo(run, rules=["wrong states"])
    assert "17 rows are given back" in undone.why, undone
    assert "3 were changed again since" in undone.why
    assert [each.partition(" was")[0] for each in undone.unverified] == ["jobs 1", "jobs 2", "jobs 3"]


@pytest.mark.parametrize("briefly", [True, False])
def test_a_row_that_somebody_holds_is_come_back_to(stage, monkeypatch, briefly):
    """Locked for a moment, it is given back; locked for longer, the others are, and the next undo ends it."""
    stage.clear(SHOP)
    stage.rules = COPIED
    before = stage.hashes()
    run = look_of(stage.repair())
    with psycopg.connect(stage.url) as holder:
        holder.execute("SELECT FROM jobs WHERE id = 7 FOR UPDATE")
        waits = SimpleNamespace(sleep=lambda _: holder.rollback() if briefly else None)
        monkeypatch.setattr(undo_act, "time", waits)
        undone = stage.undo(run)
    if briefly:
        assert undone.outcome == "Recovered", undone
    else:
        assert (undone.outcome, undone.evidence[0].seen) == ("Unverified", "19 are, 1 are not"), undone
        assert stage.undo(run).outcome == "Recovered"
    assert stage.hashes() == before


def test_a_constraint_that_cannot_be_taken_away_now_is_not_said_to_be_gone(stage, monkeypatch):
    """Somebody holds its table all the while; the next undo takes it away and gives the rows back."""
    monkeypatch.setattr(fences, "ATTEMPTS", 1)
    stage.clear(SHOP)
    stage.rules = ORPHANS
    before = stage.hashes()
    run = look_of(stage.repair())
    with psycopg.connect(stage.url) as holder:
        holder.execute("SELECT FROM jobs LIMIT 1")
        undone = stage.undo(run)
    assert (undone.outcome, undone.evidence[1].holds) == ("Unverified", False), undone
    assert stage.undo(run).outcome == "Recovered"
    assert stage.hashes() == before


def test_a_row_that_a_trigger_changed_on_its_way_back_is_said(stage):
    """It is in its table again, and not as it was: that is not proved, and the trigger is named."""
    stage.clear(SHOP + TOUCH)
    stage.rules = ORPHANS
    undone = stage.undo(stage.repair())
    assert (undone.outcome, undone.evidence[0].seen) == (
        "Unverified",
        "0 are, 0 are not, 10 came back and are otherwise now",
    ), undone
    assert "jobs: touching" in " ".join(undone.unverified)
    assert "jobs 21 came back, and a trigger" in " ".join(undone.unverified)


def test_a_row_that_a_constraint_refuses_by_now_stays_in_the_quarantine(stage):
    """The others come back; nothing is lost."""
    stage.clear(SHOP)
    stage.rules = ORPHANS
    report = stage.repair()
    stage.sql("ALTER TABLE jobs ADD CHECK (id <> 25)")
    undone = stage.undo(report)
    assert (undone.outcome, undone.evidence[0].seen) == ("Unverified", "9 are, 1 are not"), undone
    assert (stage.quarantined(), stage.sql("SELECT count(*) FROM jobs")) == (1, [(29,)])


def test_a_table_that_is_gone_by_now_is_said(stage):
    """What has no place to go back to stays in the quarantine."""
    stage.clear(SHOP)
    stage.rules = ORPHANS
    report = stage.repair()
    stage.sql("DROP TABLE jobs")
    undone = stage.undo(report)
    assert sum(" was changed again since, or its place was taken" in each for each in undone.unverified) == 10
    assert stage.quarantined() == 10
