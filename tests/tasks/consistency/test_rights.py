"""The user of the database needs what the README grants, and no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.ledgers import sql
from tests.tasks.consistency.stage import Stage, stage_on

README = Path(__file__).parents[3] / "README.md"
TABLES = """
CREATE TABLE users (id int PRIMARY KEY, status text);
CREATE TABLE orders (id serial PRIMARY KEY, user_id int, status text);
INSERT INTO users SELECT n, 'good' FROM generate_series(1, 20) n;
INSERT INTO orders SELECT n, n, CASE WHEN n < 4 THEN 'bad' ELSE 'good' END FROM generate_series(1, 25) n;
"""
RULES = """
rules:
  - {name: orders of nobody, kind: orphan, table: orders, columns: [user_id], parent: users, parent_columns: [id],
     repair: quarantine}
  - {name: orders out of step, kind: mismatch, table: orders, source: users, join: {user_id: id},
     columns: {status: status}, repair: copy}
  - {name: indexes that disagree, kind: index, table: orders}
  - {name: sequences behind the orders, kind: sequence, table: orders, repair: advance}
"""
ROLE = "salvor_rows"


@pytest.fixture
def shop(ledger_server: str, tmp_path: Path) -> Iterator[Stage]:
    """The database `shop`, reached as the user that the README describes."""
    stage = stage_on(ledger_server, tmp_path, "shop")
    stage.clear(TABLES)
    stage.sql("CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA public")
    (granted,) = re.findall(rf"```sql\n(CREATE ROLE {ROLE} .*?)```", README.read_text(), re.DOTALL)
    stage.sql(granted)
    at = urlsplit(ledger_server)
    yield Stage(f"postgresql://{ROLE}@{at.hostname}:{at.port}/shop", stage.ledger, RULES)
    sql(ledger_server, "DROP DATABASE shop WITH (FORCE)")
    sql(ledger_server, f"DROP ROLE {ROLE}")


def test_the_rights_of_the_readme_are_enough(shop: Stage) -> None:
    """Rows are looked at, moved, changed and given back, a sequence is advanced, and an index is looked through."""
    before = shop.hashes()
    report = shop.repair()
    assert (report.outcome, report.unverified[:-1]) == ("Recovered", ()), report
    assert shop.rows("orders", "id, status") == [(n, "good") for n in range(1, 21)]
    assert shop.repair().outcome == "NothingToDo"
    undone = shop.undo(report)
    assert undone.outcome == "Recovered", undone
    assert shop.hashes() == before


def test_a_fence_of_a_table_that_is_another_users_is_refused_with_the_reason(shop: Stage) -> None:
    """Only the owner of a table may add a constraint to it; it is said before anything is changed."""
    shop.rules = RULES.replace("repair: quarantine}", "repair: quarantine, fence: true}")
    before = shop.hashes()
    report = shop.repair()
    assert report.outcome == "Refused", report
    assert "does not own orders" in report.why
    assert 'GRANT REFERENCES ON "public"."users"' in report.why
    assert shop.hashes() == before
