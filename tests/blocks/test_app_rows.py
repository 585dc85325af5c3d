"""Rows read as lines and repaired by one statement, on a real PostgreSQL."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from blocks import app_audit
from blocks.app_audit import Audited
from blocks.app_database import AppDatabase
from blocks.app_rows import SyncedRows
from blocks.app_tables import CustomersTable
from blocks.postgres_session import StatementRefused
from tasks.stripe.kinds import fields_of
from tests.flows.stripe_scene import fresh

FIELDS = fields_of("customers")
LONG_AGO, EARLY, NOW_ISH = "2001-01-01 00:00:00+00", "2002-01-01 00:00:00+00", "2003-01-01 00:00:00+00"
NEW = "new@x\tusd\tf\t2020-01-01 00:00:00+00\tf"


class Books:
    """The shop's database, and its table of customers."""

    def __init__(self, url: str, **mapping: Any) -> None:
        self.url = url
        self.database = AppDatabase(url=SecretStr(url), **mapping)
        self.rows = SyncedRows(self.database, "customers", FIELDS)

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def lines(self, since: int = 0) -> dict[str, tuple[str, bool, str, bool]]:
        with self.database.reading() as connection:
            return {row[0]: row[1:] for row in self.rows.lines(connection, since)}

    def repair(self, *staged: tuple[str, ...], run: str = "run") -> int:
        with self.database.writing() as connection:
            app_audit.make(connection)
            return self.rows.repair(connection, run, staged)

    def update(self, key: str, *, asked: str = NOW_ISH, operation: str = "update", new: str = NEW) -> tuple[str, ...]:
        """Stage a row, as it is read now."""
        old, _, observed, _ = self.lines()[key]
        return key, operation, asked, "", new, old, observed

    def undo(self, run: str, by: str) -> int:
        with self.database.writing() as connection:
            return Audited(self.database, "customers", FIELDS).give_back(connection, run, by)

    def whole(self) -> list[Any]:
        return self.sql("SELECT to_jsonb(c) FROM customers c ORDER BY id")


@pytest.fixture
def books(ledger_server) -> Books:
    it = Books(fresh(ledger_server))
    it.sql(
        "INSERT INTO customers (id, email, livemode, stripe_observed_at) VALUES ('cus_1', 'old@x', false, %s)", LONG_AGO
    )
    return it


def test_a_row_is_brought_to_what_stripe_says_and_old_and_new_are_kept(books):
    """It bears the time of the look; a second run of the same finds nothing to change."""
    staged = books.update("cus_1")
    assert books.repair(staged) == 1
    assert books.lines()["cus_1"] == (NEW, False, NOW_ISH, True)
    ((before, after),) = books.sql("SELECT before, after FROM salvor.stripe_changes")
    assert (before["email"], after["email"]) == ("old@x", "new@x")
    assert books.repair(staged) == 0


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE customers SET email = 'other@x'",
        "UPDATE customers SET stripe_observed_at = now()",
        "UPDATE customers SET stripe_deleted_at = now()",
        "DELETE FROM customers",
    ],
)
def test_a_row_that_changed_since_it_was_read_is_left(books, meanwhile):
    """Compare and set: nobody's change is overwritten, and nothing is audited."""
    staged = books.update("cus_1")
    books.sql(meanwhile)
    before = books.whole()
    assert books.repair(staged) == 0
    assert books.whole() == before
    assert books.sql("SELECT count(*) FROM salvor.stripe_changes") == [(0,)]


def test_a_later_look_of_somebody_else_is_never_taken_back(books):
    """Not even when the row is as it was read: he asked Stripe after us."""
    books.sql("UPDATE customers SET stripe_observed_at = %s", NOW_ISH)
    assert books.repair(books.update("cus_1", asked=EARLY)) == 0


@pytest.mark.parametrize("noted", ["infinity", "2999-01-01", None])
def test_a_look_that_cannot_have_been_yet_does_not_keep_a_row_wrong(books, noted):
    """A clock that was ahead, or a time that was never noted, is mended with the row."""
    books.sql("ALTER TABLE customers ALTER stripe_observed_at DROP NOT NULL")
    books.sql("UPDATE customers SET stripe_observed_at = %s", noted)
    assert books.repair(books.update("cus_1")) == 1
    assert books.lines()["cus_1"][2] == NOW_ISH


def test_any_text_reads_back_as_it_was_staged(books):
    """Tabs, line ends, backslashes, quotes, marks of NULL: both sides write them alike."""
    for email in ("a\\tb", "\\\\N", "\\b\\f\\v\\r\\n", "'; DROP--", "ü\u2028😀", ""):
        line = NEW.replace("new@x", email)
        assert books.repair(books.update("cus_1", new=line)) == 1
        assert books.lines()["cus_1"][0] == line


def test_rows_come_in_the_order_of_their_bytes_whatever_the_type_compares(books):
    """The two sides are walked side by side, so both must sort alike; citext would sort its own way."""
    books.sql("CREATE EXTENSION IF NOT EXISTS citext")
    books.sql("ALTER TABLE customers ALTER id TYPE citext")
    keys = ["cus_B", "cus_a", "cus_Z", "CUS_9", "cus-é", "cus_é"]
    books.sql("INSERT INTO customers (id, livemode) SELECT unnest(%s::text[]), false", keys)
    found = list(books.lines())
    assert found == sorted(found, key=str.encode) == sorted(found)


def test_only_rows_of_the_time_that_is_compared_can_be_missed(books):
    """One of which nobody knows when it was made can."""
    books.sql("INSERT INTO customers (id, livemode, created_at) VALUES ('cus_2', false, to_timestamp(50))")
    books.sql("INSERT INTO customers (id, livemode, created_at) VALUES ('cus_3', false, to_timestamp(150))")
    assert {key: row[3] for key, row in books.lines(100).items()} == {"cus_1": True, "cus_2": False, "cus_3": True}


def test_rows_without_a_mode_tell_nothing_of_it(books):
    """NULL is not a sandbox."""
    books.sql("ALTER TABLE customers ALTER livemode DROP NOT NULL")
    books.sql("UPDATE customers SET livemode = NULL")
    with books.database.reading() as connection:
        assert books.rows.livemodes(connection) == set()


def test_names_are_quoted_columns_may_lack_and_tables_may_be_partitioned(books):
    """The application's own names, however odd."""
    books.sql('CREATE SCHEMA "the shop"')
    books.sql(
        'CREATE TABLE "the shop"."Order ""x""" ("Id" text PRIMARY KEY, "the ""mail" text, live boolean,'
        ' seen timestamptz, gone timestamptz) PARTITION BY HASH ("Id")'
    )
    for number in range(2):
        books.sql(
            f'CREATE TABLE "the shop".p{number} PARTITION OF "the shop"."Order ""x"""'
            f" FOR VALUES WITH (MODULUS 2, REMAINDER {number})"
        )
    odd = CustomersTable(
        table='Order "x"', id="Id", email='the "mail', livemode="live", observed_at="seen", deleted_at="gone",
        user_id="", currency="", delinquent="", created_at="",
    )  # fmt: skip
    other = Books(books.url, schema_name="the shop", customers=odd)
    assert other.database.misfits(["customers"], to_write=True) == []
    for key in ("cus_1", "cus_2"):
        assert other.repair((key, "insert", NOW_ISH, "", "a@x\tf", "\\N\t\\N", "\\N")) == 1
    assert other.repair(other.update("cus_1", new="b@x\tf", asked="2004-01-01 00:00:00+00")) == 1
    assert other.repair(other.update("cus_2", new="a@x\tf", operation="tombstone", asked="2004-01-01 00:00:00+00")) == 1
    assert {key: row[:2] for key, row in other.lines().items()} == {
        "cus_1": ("b@x\tf", False),
        "cus_2": ("a@x\tf", True),
    }


def test_a_statement_that_the_table_refuses_changes_nothing(books):
    """A rule of the application holds for Salvor as well."""
    books.sql("ALTER TABLE customers ADD CHECK (email <> 'new@x')")
    before = books.whole()
    with pytest.raises(StatementRefused):
        books.repair(books.update("cus_1"))
    assert books.whole() == before


def test_an_undo_and_the_undo_of_an_undo_give_identical_rows(books):
    """Changed, added and buried rows; with the user that an added one was given; columns of others are not touched."""
    books.sql("ALTER TABLE customers ADD note text NOT NULL DEFAULT 'ours'")
    books.sql("INSERT INTO users (id, stripe_customer_id) VALUES (7, 'cus_2')")
    books.sql("INSERT INTO customers (id, email, livemode) VALUES ('cus_3', 'gone@x', false)")
    before = books.whole()
    staged = books.update("cus_3", operation="tombstone", new=books.lines()["cus_3"][0])
    added = ("cus_2", "insert", NOW_ISH, "", NEW, "\t".join(["\\N"] * 5), "\\N")
    assert books.repair(books.update("cus_1"), added, staged) == 3
    repaired = books.whole()
    assert books.sql("SELECT user_id FROM customers WHERE id = 'cus_2'") == [(7,)]
    assert books.undo("run", by="undo") == 3
    assert books.whole() == before
    assert books.undo("undo", by="redo") == 3
    assert books.whole() == repaired
    assert books.undo("redo", by="again") == 3
    assert books.whole() == before


def test_an_undo_keeps_columns_that_were_mapped_only_later(books):
    """What the audit does not know of a row stays as it is now."""
    lacking = Books(books.url, customers=CustomersTable(currency=""))
    books.sql("UPDATE customers SET currency = 'eur'")
    new = "new@x\tf\t2020-01-01 00:00:00+00\tf"
    assert lacking.repair(lacking.update("cus_1", new=new)) == 1
    assert books.undo("run", by="undo") == 1
    assert books.sql("SELECT email, currency FROM customers") == [("old@x", "eur")]


def test_the_rights_that_the_readme_lists_are_enough_and_one_that_lacks_is_said(books):
    """A role of its own repairs and gives back; before anything is changed it is told what it may not."""
    books.sql("DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    books.sql("REVOKE CREATE ON DATABASE shop FROM clerk")
    books.sql("GRANT USAGE ON SCHEMA public TO clerk")
    books.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk")
    clerk = Books(books.url.replace("salvor@", "clerk@"))
    with clerk.database.reading() as connection:
        assert "GRANT CREATE ON DATABASE shop TO clerk" in app_audit.missing_right(connection)
    books.sql("GRANT CREATE ON DATABASE shop TO clerk")
    with clerk.database.reading() as connection:
        assert app_audit.missing_right(connection) == ""
    before = books.whole()
    added = ("cus_2", "insert", NOW_ISH, "", NEW, "\t".join(["\\N"] * 5), "\\N")
    assert clerk.repair(clerk.update("cus_1"), added) == 2
    assert clerk.undo("run", by="undo") == 2
    assert books.whole() == before
