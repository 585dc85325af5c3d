"""Rows that become wrong only by the repair itself."""

from __future__ import annotations

from tests.tasks.consistency.stage import Stage, conserved

TABLES = """
CREATE TABLE users (id int PRIMARY KEY);
CREATE TABLE jobs (id int PRIMARY KEY, user_id int);
CREATE TABLE results (id int PRIMARY KEY, job_id int);
INSERT INTO users VALUES (1);
INSERT INTO jobs VALUES (1, 1), (2, 9);
INSERT INTO results VALUES (1, 1), (2, 2), (3, 2);
"""
RULES = """
rules:
  - {name: jobs of nobody, kind: orphan, table: jobs, columns: [user_id], parent: users, parent_columns: [id],
     repair: quarantine}
  - {name: results of no job, kind: orphan, table: results, columns: [job_id], parent: jobs, parent_columns: [id],
     repair: quarantine}
"""


def test_a_rule_that_only_breaks_by_the_repair_of_another_is_repaired_with_it(stage: Stage) -> None:
    """No result is wrong yet; two follow their job into the quarantine, the plan says so, and all of it comes back."""
    stage.clear(TABLES)
    stage.rules = RULES
    before = stage.hashes()
    report = stage.repair()
    assert report.plan
    planned = {each["rule"]: (each["rows"], each["followers"]) for each in report.plan.model_dump()["rules"]}
    assert planned == {"jobs of nobody": (1, 0), "results of no job": (0, 2)}
    assert report.outcome == "Recovered", report
    assert conserved(report).startswith("3 = 0 repaired + 3 quarantined")
    assert (stage.rows("jobs", "id"), stage.rows("results", "id")) == ([(1,)], [(1,)])
    assert stage.undo(report).outcome == "Recovered"
    assert stage.hashes() == before
