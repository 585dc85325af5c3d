"""What is read of a catalog is what is in it, however odd, and in a handful of questions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from blocks.live_catalog import Catalog, ForeignKey, read
from tests.ledgers import sql as admin

SCHEMA = """
CREATE SCHEMA app; CREATE SCHEMA "Odd.Schema";
CREATE DOMAIN mail AS varchar(99); CREATE DOMAIN sure_mail AS mail NOT NULL; CREATE TYPE mood AS ENUM ('ok');
CREATE TABLE "User Table" (
    "sElect" bigint GENERATED ALWAYS AS IDENTITY, "100%" sure_mail, at timestamptz(3) NOT NULL, m mood,
    up text GENERATED ALWAYS AS (upper("100%")) STORED, tags text[], PRIMARY KEY (at, "sElect"));
CREATE UNIQUE INDEX ON "User Table" (m) INCLUDE (tags);
CREATE UNIQUE INDEX ON "User Table" (tags) WHERE m = 'ok';
CREATE UNIQUE INDEX ON "User Table" (lower("100%"));
CREATE SEQUENCE shared; CREATE TABLE app.users (id bigint PRIMARY KEY DEFAULT nextval('shared'), code serial);
CREATE TABLE users (id bigint PRIMARY KEY);
CREATE TABLE app.jobs (id bigint PRIMARY KEY, user_id bigint, boss bigint REFERENCES app.jobs);
ALTER TABLE app.jobs ADD CONSTRAINT loose FOREIGN KEY (user_id) REFERENCES app.users ON DELETE CASCADE NOT VALID;
CREATE TABLE parts (day int, id int, user_id bigint REFERENCES users, PRIMARY KEY (day, id)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (day);
CREATE TABLE parts_21 PARTITION OF parts_2 DEFAULT;
CREATE TABLE to_all (day int, id int, CONSTRAINT to_all FOREIGN KEY (day, id) REFERENCES parts);
CREATE TABLE to_one (day int, id int, CONSTRAINT to_one FOREIGN KEY (day, id) REFERENCES parts_21 ON DELETE SET NULL);
CREATE FUNCTION noticed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER zero AFTER TRUNCATE ON users EXECUTE FUNCTION noticed();
CREATE TRIGGER one AFTER INSERT OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION noticed();
CREATE TRIGGER off AFTER UPDATE ON users EXECUTE FUNCTION noticed(); ALTER TABLE users DISABLE TRIGGER off;
CREATE TRIGGER far AFTER UPDATE ON users EXECUTE FUNCTION noticed(); ALTER TABLE users ENABLE REPLICA TRIGGER far;
CREATE TRIGGER all_parts AFTER UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION noticed();
CREATE TRIGGER one_part AFTER UPDATE ON parts_1 FOR EACH ROW EXECUTE FUNCTION noticed();
CREATE VIEW seen AS SELECT * FROM users;
CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE derived () INHERITS (base);
CREATE RULE silent AS ON DELETE TO derived DO INSTEAD NOTHING;
INSERT INTO parts SELECT n, n, NULL FROM generate_series(1, 15) n; ANALYZE parts;
"""


class Counted:
    """A connection that counts what it is asked."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection, self.asked = connection, 0

    def execute(self, *given: Any) -> Any:
        self.asked += 1
        return self.connection.execute(*given)


@pytest.fixture(scope="module")
def connection(ledger_server: str) -> Iterator[psycopg.Connection[Any]]:
    """A database with the oddities above."""
    name = f"catalog{uuid4().hex[:8]}"
    admin(ledger_server, f"CREATE DATABASE {name}")
    with psycopg.connect(f"{ledger_server}{name}", autocommit=True) as it:
        it.execute(SCHEMA.encode())
        yield it
    admin(ledger_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def catalog(connection: psycopg.Connection[Any]) -> Catalog:
    names = ["User Table", "users", "app.users", "app.jobs", "parts", "parts_1", "seen", "base", "derived", "usres"]
    return read(connection, "public", names)


def test_columns_keys_and_indexes(catalog: Catalog) -> None:
    """Types as they are and as they are compared, what is written by the database, and which columns are unique."""
    table = catalog.tables["User Table"]
    columns = table.columns.values()
    assert [(c.name, c.type, c.kind, c.category) for c in columns] == [
        ("sElect", "bigint", "bigint", "N"),
        ("100%", "sure_mail", "character varying", "S"),
        ("at", "timestamp(3) with time zone", "timestamp with time zone", "D"),
        ("m", "mood", "mood", "E"),
        ("up", "text", "text", "S"),
        ("tags", "text[]", "text[]", "A"),
    ]
    assert [c.name for c in columns if c.nullable] == ["m", "up", "tags"]
    assert [c.name for c in columns if c.generated] == ["up"]
    assert [c.name for c in columns if c.always_identity] == ["sElect"]
    assert table.primary_key == ("at", "sElect")
    assert sorted(table.unique) == [("at", "sElect"), ("m",)]
    assert (table.quoted, table.label) == ('"public"."User Table"', "User Table")


def test_sequences_that_fill_a_column(catalog: Catalog) -> None:
    """Of an identity, of a serial, and one that only the default asks."""
    assert catalog.tables["User Table"].columns["sElect"].sequence == '"public"."User Table_sElect_seq"'
    users = catalog.tables["app.users"].columns
    assert (users["id"].sequence, users["code"].sequence) == ('"public"."shared"', '"app"."users_code_seq"')
    assert catalog.tables["users"].columns["id"].sequence is None


def test_foreign_keys_point_to_the_table_that_they_name(catalog: Catalog) -> None:
    """A table of the same name in another schema has its own; a key of a table to itself is both."""
    loose = ForeignKey("loose", '"app"."jobs"', ("user_id",), '"app"."users"', ("id",), "c", validated=False)
    assert catalog.tables["app.users"].incoming == (loose,)
    assert [key.child for key in catalog.tables["users"].incoming] == ['"public"."parts"']
    assert [key.name for key in catalog.tables["app.jobs"].outgoing] == ["jobs_boss_fkey", "loose"]
    assert [key.name for key in catalog.tables["app.jobs"].incoming] == ["jobs_boss_fkey"]


def test_keys_that_point_to_a_partition_are_keys_to_the_table(catalog: Catalog) -> None:
    """Whoever deletes a row of the table must know them; what PostgreSQL derives for partitions is not said twice."""
    parts, leaf = catalog.tables["parts"], catalog.tables["parts_1"]
    assert {(key.name, key.on_delete) for key in parts.incoming} == {("to_all", "a"), ("to_one", "n")}
    assert len(parts.incoming) == 2
    assert [key.parent for key in parts.outgoing] == ['"public"."users"']
    assert [key.columns for key in leaf.incoming] == [("day", "id")]
    assert [key.parent for key in leaf.outgoing] == ['"public"."users"']


def test_triggers_that_fire(catalog: Catalog) -> None:
    """On insert, update or delete of a row, on this server; those of a partition fire as well."""
    assert catalog.tables["users"].triggers == ("one",)
    assert catalog.tables["parts"].triggers == ("all_parts", "one_part")


def test_what_stands_between_a_table_and_its_rows(catalog: Catalog) -> None:
    """A view, tables that inherit, a rule; and a partitioned table has the rows of its partitions."""
    tables = catalog.tables
    assert {name: table.kind for name, table in tables.items() if table.kind != "r"} == {"parts": "p", "seen": "v"}
    assert [name for name, table in tables.items() if table.inherited] == ["base"]
    assert [name for name, table in tables.items() if table.rewritten] == ["derived"]
    assert tables["parts"].rows == 15
    assert tables["parts"].bytes > tables["parts_1"].bytes > 0
    assert tables["users"].rows == -1


def test_a_table_that_is_not_there_is_left_out(catalog: Catalog, connection: psycopg.Connection[Any]) -> None:
    """Then the names that could have been meant are given, and only then; those of another schema with it."""
    assert "usres" not in catalog.tables
    assert {"users", "User Table", "app.users"} <= set(catalog.neighbours)
    assert read(connection, "public", ["users"]).neighbours == ()
    assert "app.users" in read(connection, "public", ["app.nothing"]).neighbours
    assert read(connection, "public", []).tables == {}


def test_a_user_without_rights_can_read_the_catalog(connection: psycopg.Connection[Any]) -> None:
    """What he may not do is in it; nothing of it is an error."""
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE ROLE passer_by; SET LOCAL ROLE passer_by")
        table = read(connection, "public", ["app.users"]).tables["app.users"]
        rights = [table.readable, table.writable, table.entered, table.owned, table.referable]
        code = table.columns["code"]
        assert not any([*rights, code.sequence_readable, code.sequence_writable])


def test_many_tables_take_as_many_questions_as_one(connection: psycopg.Connection[Any]) -> None:
    """A catalog of hundreds of tables is not gone through one by one."""
    with connection.transaction(force_rollback=True):
        connection.execute(
            "DO $$ BEGIN FOR n IN 1..100 LOOP EXECUTE format('CREATE TABLE many_%s (id int)', n); END LOOP; END $$"
        )
        one, all_ = Counted(connection), Counted(connection)
        read(one, "public", ["many_1"])  # type: ignore[arg-type]  # it executes, which is all that is needed
        names = [f"many_{number}" for number in range(1, 101)]
        assert len(read(all_, "public", names).tables) == 100  # type: ignore[arg-type]  # as above
        assert all_.asked == one.asked <= 8
