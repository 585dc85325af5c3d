"""What a repair does to real rows, what it leaves alone, and what it says."""

from __future__ import annotations

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
