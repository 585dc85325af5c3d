"""An application whose rows are wrong in every way that a repair can put right, known to Prefect as `broken`."""

from __future__ import annotations

from typing import Any

import psycopg
from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.ledger import runs
from blocks.ledger.block import Ledger
from blocks.rule_pack import RulePack
from flows.consistency_repair import consistency_repair
from flows.consistency_undo import consistency_undo

TABLES = """
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, stripe_customer_id text, tier text NOT NULL,
    loud text GENERATED ALWAYS AS (upper(email)) STORED, settings json
);
CREATE TABLE accounts (id text PRIMARY KEY, tier text NOT NULL);
CREATE TABLE "User Notes" (
    "user id" bigint, n int, body json NOT NULL, PRIMARY KEY ("user id", n)
) PARTITION BY LIST (n);
CREATE TABLE notes_1 PARTITION OF "User Notes" FOR VALUES IN (1);
CREATE TABLE notes_2 PARTITION OF "User Notes" FOR VALUES IN (2, 3);
CREATE TABLE folders (id int PRIMARY KEY, parent int, name text);
CREATE TABLE jobs (
    id int PRIMARY KEY, user_id bigint, status text NOT NULL, begun timestamptz, attempts int, error text
);
CREATE INDEX ON users (stripe_customer_id);
INSERT INTO users (email, stripe_customer_id, tier, settings)
SELECT 'u' || n, 'cus_' || n, 'free', '{"a": 1,  "a": 2}' FROM generate_series(1, 100) n;
INSERT INTO accounts SELECT stripe_customer_id, 'free' FROM users;
INSERT INTO "User Notes" SELECT id, n, '{"x":  1}' FROM users, generate_series(1, 3) n;
INSERT INTO folders SELECT n, n - 1, 'f' || n FROM generate_series(2, 60) n;
INSERT INTO folders VALUES (1, NULL, 'root');
INSERT INTO jobs SELECT n, n, 'done', now() FROM generate_series(1, 100) n;
"""
#: 10 users and their notes, a chain of folders of which the root is gone, and so on.
FAULTS = """
DELETE FROM users WHERE id > 90;
UPDATE users SET stripe_customer_id = 'cus_1' WHERE id IN (2, 3);
UPDATE accounts SET tier = 'paid' WHERE id IN ('cus_10', 'cus_11');
DELETE FROM folders WHERE id = 50;
UPDATE jobs SET status = 'processing', begun = now() - interval '1 hour', attempts = id % 3 WHERE id <= 12;
"""
RULES = """
rules:
  - {name: notes of nobody, kind: orphan, table: User Notes, columns: [user id], parent: users, parent_columns: [id],
     repair: quarantine}
  - {name: jobs of nobody, kind: orphan, table: jobs, columns: [user_id], parent: users, parent_columns: [id],
     repair: 'null', fence: true}
  - {name: folders in no folder, kind: orphan, table: folders, columns: [parent], parent: folders, parent_columns: [id],
     repair: quarantine}
  - {name: shared customers, kind: duplicate, table: users, columns: [stripe_customer_id], keep: [{column: id}],
     why: the oldest user made it, repair: 'null', fence: true}
  - {name: wrong tiers, kind: mismatch, table: users, source: accounts, join: {stripe_customer_id: id},
     columns: {tier: tier}, repair: copy}
  - {name: jobs that hang, kind: stuck, table: jobs, since: begun, attempts: attempts, max_attempts: 3,
     reason_column: error, repair: reset}
"""
FOUND = {
    "notes of nobody": 30, "jobs of nobody": 10, "folders in no folder": 10, "shared customers": 2, "wrong tiers": 2,
    "jobs that hang": 12,
}  # fmt: skip
EVERY = ("users", "accounts", "User Notes", "folders", "jobs")


class Broken:
    """The application."""

    def __init__(self, url: str, ledger: Ledger, name: str = "broken") -> None:
        """Begin with rows that are right, and be known to Prefect by a name."""
        self.url, self.ledger, self.name = url, ledger, name
        self.sql("DROP SCHEMA IF EXISTS salvor CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;" + TABLES)
        self.sql("ANALYZE")
        AppDatabase(url=SecretStr(url)).save(self.name, overwrite=True)
        self.write(RULES)

    def write(self, rules: str) -> None:
        RulePack(rules=rules).save(self.name, overwrite=True)

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def repair(self, requested_by: str = "ada", **policy: Any) -> Any:
        form = {"dry_run": False, "max_share": 1} | policy
        return consistency_repair(self.name, form, requested_by=requested_by, return_state=True)

    def undo(self, run_id: str, **policy: Any) -> Any:
        return consistency_undo(self.name, {"run_id": run_id} | policy, requested_by="ada", return_state=True)

    def rows(self) -> dict[str, list[str]]:
        """Give every row of every table as text."""
        return {name: [row for (row,) in self.sql(f'SELECT t::text FROM "{name}" t ORDER BY 1')] for name in EVERY}

    @property
    def last_run(self) -> str:
        return runs.history(self.ledger)[0].id
