"""Tables come back beside those that are there, as they were at the moment that was named; nothing else is touched."""

from __future__ import annotations

import shutil
import time

import pytest

from blocks.backup_repository import BackupRepository
from flows.backup_extract import backup_extract
from flows.backup_take import backup_take

pytestmark = pytest.mark.long

ODD = '"Odd ""1"."public.public"'
LABEL = 'Odd "1.public.public'
#: Names, types and rows of the kind that a textual replace of `public` would spoil; and what must not come along.
TABLES = rf"""
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE DOMAIN cents AS int CHECK (VALUE >= 0);
CREATE SCHEMA "Odd ""1";
CREATE FUNCTION fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the trigger was fired'; END $$;
CREATE TABLE {ODD} (
    id serial PRIMARY KEY, m mood DEFAULT 'sad', c cents NOT NULL, doubled int GENERATED ALWAYS AS (c * 2) STORED,
    note text DEFAULT 'public.' UNIQUE, extra json, raw bytea, "order" bigint[], client text, seq bigint,
    FOREIGN KEY (client, seq) REFERENCES orders ON DELETE SET NULL
);
INSERT INTO orders SELECT 'odd', g, 1 FROM generate_series(1, 50) g;
INSERT INTO {ODD} (c, note, extra, raw, "order", client, seq)
  SELECT g, E'public."public.public" \\. \n\\.\nSET search_path TO public;\t' || g, '{{"a":  1, "a": 2}}',
         sha256(g::text::bytea), ARRAY[g, NULL], 'odd', g FROM generate_series(1, 50) g;
CREATE INDEX ON {ODD} (lower(note));
CREATE TRIGGER fails BEFORE INSERT ON {ODD} FOR EACH ROW EXECUTE FUNCTION fails();
CREATE POLICY mine ON {ODD} USING (client = current_user);
ALTER TABLE {ODD} ENABLE ROW LEVEL SECURITY;
CREATE RULE silent AS ON DELETE TO {ODD} WHERE old.c < 0 DO INSTEAD NOTHING;
CREATE TABLE parts (id int PRIMARY KEY, at timestamptz DEFAULT now()) PARTITION BY RANGE (id);
CREATE TABLE part_one PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE part_two PARTITION OF parts FOR VALUES FROM (10) TO (100);
INSERT INTO parts SELECT generate_series(1, 40);
INSERT INTO charges (client, seq, cents) SELECT 'odd', g, 100 FROM generate_series(1, 50) g;
CREATE VIEW seen AS SELECT * FROM orders;
"""
EVERYTHING = ["public.orders", "public.charges", ODD, "public.parts"]
CONTENT = "SELECT count(*), sum(hashtext(ROW(x.*)::text)) FROM {} x"


def extracted(**policy):
    state = backup_extract("orders", policy, requested_by="a person", return_state=True)
    return state.name, state.result(raise_on_failure=False)


def run(lab, statement: str) -> list[tuple[object, ...]]:
    return lab.psql("n1", statement, "orders")


def moment(lab) -> str:
    time.sleep(0.02)
    (row,) = lab.psql("n1", "SELECT clock_timestamp()")
    time.sleep(0.02)
    return row[0].isoformat()


def schemas(lab) -> set[object]:
    return {row[0] for row in run(lab, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_'")}


@pytest.fixture
def kept(orders):
    """Give a cluster with awkward tables, of which a set is kept."""
    run(orders, TABLES)
    assert backup_take("orders", return_state=True).name == "Recovered"
    return orders


def test_rows_that_were_deleted_are_beside_the_table_as_they_were(kept) -> None:
    """Every row of before is there; production is not touched, and the statements of the report bring back the rest."""
    before = {name: run(kept, CONTENT.format(name)) for name in EVERYTHING}
    then = moment(kept)
    run(kept, f"UPDATE {ODD} SET c = 0 WHERE id <= 5; DELETE FROM {ODD} WHERE id > 30; DROP TABLE parts")
    run(kept, "DELETE FROM orders WHERE seq > 30; INSERT INTO orders VALUES ('new', 1, 1)")
    now = {name: run(kept, CONTENT.format(name)) for name in EVERYTHING[:3]}
    name, report = extracted(target="time", to=then, tables=EVERYTHING, into_schema="rescue")
    assert name == "Recovered", (report.why, [each for each in report.evidence if not each.holds])
    assert {name: run(kept, CONTENT.format(name)) for name in EVERYTHING[:3]} == now
    beside = {name: name.replace("public.", "rescue.") for name in EVERYTHING} | {ODD: 'rescue."public.public"'}
    assert {name: run(kept, CONTENT.format(beside[name])) for name in EVERYTHING} == before
    assert report.figures == {"rows_copied": 190, "rows_missing_now": 40, "rows_different_now": 5}
    assert not list((kept.vault / "scratch").iterdir())
    assert run(kept, "SELECT contype, count(*) FROM pg_constraint WHERE connamespace = 'rescue'::regnamespace"
                     " AND contype IN ('f', 'p', 'u') GROUP BY 1 ORDER BY 1") == [("p", 6), ("u", 1)]  # fmt: skip
    own = "relnamespace = 'rescue'::regnamespace"
    assert run(kept, f"SELECT relname FROM pg_class WHERE {own} AND (relhastriggers OR relrowsecurity)") == []
    # What the report says is what a person does.
    said = {claim.partition(":")[0]: claim.partition(": ")[2] for claim in report.unverified}
    assert len(run(kept, said["What differs in public.orders"])) == 20
    assert len(run(kept, said[f"What differs in {LABEL}"])) == 25
    for label in ("public.orders", "public.charges", "public.parts"):
        run(kept, said[f"To bring back what is missing in {label}"])
    run(kept, f"ALTER TABLE {ODD} DISABLE TRIGGER fails")
    run(kept, said[f"To bring back what is missing in {LABEL}"])
    assert run(kept, CONTENT.format("parts")) == before["public.parts"]
    assert run(kept, f"SELECT count(*) FROM {ODD}") == [(50,)]
    assert run(kept, "SELECT count(*) FROM orders") == [(51,)]


def test_a_table_comes_out_of_the_logical_copy_when_the_files_are_spoilt(orders) -> None:
    """The set's files are gone; the rows of its logical copy are beside the table all the same, awkward ones too."""
    block = BackupRepository.load("orders")
    block.dumps = True
    block.save("orders", overwrite=True)
    run(orders, TABLES)
    assert backup_take("orders", return_state=True).name == "Recovered"
    before = run(orders, CONTENT.format(ODD))
    run(orders, f"DELETE FROM {ODD}")
    (data,) = orders.vault.glob("repository/sets/*/data")
    shutil.rmtree(data / "base")
    name, report = extracted(source="dump", tables=[ODD], into_schema="rescue")
    assert name == "Recovered", (report.why, [each for each in report.evidence if not each.holds])
    assert run(orders, CONTENT.format('rescue."public.public"')) == before
    assert report.figures["rows_missing_now"] == 50
    assert not list((orders.vault / "scratch").iterdir())


def test_what_fails_leaves_nothing_and_a_partition_comes_detached(kept) -> None:
    """A table that never was, a view, a type that is gone, a dry run: nothing stays, in production or in the folder.

    Attached, a partition would put its old rows into the table of production.
    """
    then, there = moment(kept), schemas(kept)
    run(kept, f"ALTER TABLE {ODD} ALTER m DROP DEFAULT, ALTER m TYPE text; DROP TYPE mood; DROP TABLE part_two")
    for outcome, said, policy in (
        ("Refused", "There is no table other.orders in orders", {"tables": ["other.orders"]}),
        ("Refused", "public.seen cannot be copied: it is a view", {"tables": ["public.seen"]}),
        ("Refused", "public.nope: there is none", {"tables": ["public.nope"]}),
        ("Refused", 'type "public.mood" does not exist', {"tables": [ODD]}),
        ("NothingToDo", "public.orders", {"tables": ["public.orders"], "dry_run": True}),
    ):
        name, report = extracted(target="time", to=then, **policy)
        assert (name, said in report.why) == (outcome, True), (policy, report.why)
        assert schemas(kept) == there
        assert not list((kept.vault / "scratch").glob("*"))
    name, report = extracted(target="time", to=then, tables=["public.part_two"], into_schema="rescue")
    assert name == "Recovered", report.why
    assert run(kept, "SELECT count(*) FROM rescue.part_two") == [(31,)]
    assert run(kept, "SELECT count(*) FROM parts") == [(9,)]
