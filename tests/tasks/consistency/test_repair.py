"""What a repair does to real rows, what it leaves alone, and what it says."""

from __future__ import annotations

from tasks.consistency import batches
from tests.tasks.consistency.stage import conserved

SHOP = """
CREATE TABLE users (id int PRIMARY KEY, email text);
CREATE TABLE jobs (id int PRIMARY KEY, user_id int, state text);
INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 20) n;
INSERT INTO jobs SELECT n, n, 'open' FROM generate_series(1, 30) n;
"""
ORPHANS = """
rules:
  - {name: jobs of nobody, kind: orphan, table: jobs, columns: [user_id], parent: users, parent_columns: [id],
     repair: quarantine, fence: true}
"""


def test_orphans_go_to_the_quarantine_and_come_back(stage):
    """Ten rows of thirty: moved, fenced, accounted for, nothing to do afterwards, given back as they were."""
    stage.clear(SHOP)
    stage.rules = ORPHANS
    before = stage.hashes()
    report = stage.repair()
    assert (report.outcome, stage.rows("jobs", "id")) == ("Recovered", [(n,) for n in range(1, 21)]), report
    assert conserved(report) == "10 = 0 repaired + 10 quarantined + 0 deleted + 0 meanwhile + 0 skipped"
    assert stage.quarantined() == 10
    assert stage.repair().outcome == "NothingToDo"
    undone = stage.undo(report)
    assert (undone.outcome, stage.hashes()) == ("Recovered", before), undone
    assert stage.undo(report).outcome == "NothingToDo"


CHAINED = """
rules:
  - {name: users of nobody, kind: orphan, table: users, columns: [org], parent: orgs, parent_columns: [id],
     repair: quarantine, fence: true}
  - {name: jobs of nobody, kind: orphan, table: jobs, columns: [user_id], parent: users, parent_columns: [id],
     repair: quarantine, fence: true}
"""


def test_a_fence_does_not_keep_the_rows_that_follow_each_other_from_going(stage):
    """A constraint that stands before its parents have gone would refuse that they go: it comes after them."""
    stage.clear("""
        CREATE TABLE orgs (id int PRIMARY KEY);
        CREATE TABLE users (id int PRIMARY KEY, org int);
        CREATE TABLE jobs (id int PRIMARY KEY, user_id int);
        INSERT INTO orgs VALUES (1);
        INSERT INTO users VALUES (1, 1), (2, 7);
        INSERT INTO jobs VALUES (1, 1), (2, 2), (3, 9);
    """)
    stage.rules = CHAINED
    before = stage.hashes()
    report = stage.repair()
    assert report.outcome == "Recovered", report
    assert (stage.rows("users"), stage.rows("jobs")) == ([(1, 1)], [(1, 1)])
    assert conserved(report).startswith("3 = 0 repaired + 3 quarantined")
    fences = "SELECT convalidated FROM pg_constraint WHERE contype = 'f'"
    assert stage.sql(fences) == [(True,), (True,)]
    assert stage.undo(report).outcome == "Recovered"
    assert (stage.hashes(), stage.sql(fences)) == (before, [])


COPIED = """
rules:
  - {name: wrong states, kind: mismatch, table: jobs, source: users, join: {user_id: id}, columns: {state: email},
     repair: copy}
"""


def test_a_row_that_the_database_refuses_is_left_and_the_others_are_not(stage):
    """The rows are tried by halves until the one is found; its constraint stands in the report."""
    stage.clear(SHOP + "ALTER TABLE jobs ADD CONSTRAINT never_seven CHECK (state <> 'u7')")
    stage.rules = COPIED
    report = stage.repair()
    assert report.outcome == "Unverified", report
    assert stage.sql("SELECT id FROM jobs WHERE state = 'open' AND id <= 20") == [(7,)]
    assert conserved(report) == "20 = 19 repaired + 0 quarantined + 0 deleted + 0 meanwhile + 1 skipped"
    assert "never_seven" in " ".join(report.unverified)


def test_a_table_that_refuses_every_row_ends_it(stage, monkeypatch):
    """So many rows are not refused one by one; what was done stays done, and a person looks."""
    monkeypatch.setattr(batches, "REFUSALS", 3)
    stage.clear(SHOP + "ALTER TABLE jobs ADD CONSTRAINT always_open CHECK (state = 'open')")
    stage.rules = COPIED
    report = stage.repair()
    assert (report.outcome, "always_open" in report.why) == ("NeedsHuman", True), report
