"""A schema is carried from one server to another as a whole, or not at all; no password is seen on the way."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from blocks.node_control import LocalControl
from blocks.postgres import PostgresNode
from blocks.postgres_node import ScriptFailed
from blocks.table_copy import pour
from tests.blocks.servers import account, bin_directory, scratch
from tests.ledgers import sql

pytestmark = pytest.mark.long

MADE = """
CREATE SCHEMA rescue; COMMENT ON SCHEMA rescue IS 'made by a test';
CREATE TABLE rescue.a (id int PRIMARY KEY, t text);
INSERT INTO rescue.a SELECT g, repeat('x', 1000) FROM generate_series(1, 500) g;
CREATE TABLE rescue.b (m mood);
"""


@pytest.fixture
def places(ledger_server):
    """Give the databases `there` and `here` of one server; in both there is a type that the schema's tables use."""
    for name in ("there", "here"):
        sql(ledger_server, f"CREATE DATABASE {name}")
        told(ledger_server + name, "CREATE TYPE mood AS ENUM ('sad')")
    told(f"{ledger_server}there", MADE)
    yield f"{ledger_server}there?password=secret-of-salvor", f"{ledger_server}here?password=secret-of-salvor"
    for name in ("there", "here"):
        sql(ledger_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def folder():
    """Give a folder that the database's user may read."""
    with scratch() as root:
        yield root


def told(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        done = connection.execute(statement.encode())
        return done.fetchall() if done.description else []


def host(bin_folder: Path | None = None) -> PostgresNode:
    return PostgresNode(
        name="scratch",
        host="127.0.0.1",
        data_directory="/nowhere/data",
        bin_directory=str(bin_folder or bin_directory()),
        control=LocalControl(run_as=account().pw_name),
    )


def program(folder: Path, name: str, text: str) -> None:
    """Put a program in the place of one of PostgreSQL's; REAL is the folder of those."""
    if not (folder / "bin").exists():
        (folder / "bin").mkdir()
        for other in ("psql", "pg_dump"):
            (folder / "bin" / other).symlink_to(bin_directory() / other)
    path = folder / "bin" / name
    path.unlink()
    path.write_text(f"#!/bin/sh\nREAL={bin_directory()}\n{text}\n")
    path.chmod(0o755)
    shutil.chown(path, account().pw_uid)


def test_a_schema_arrives_with_its_comment_and_no_password_is_seen(places, folder: Path) -> None:
    """Rows, keys and the comment by which it is known; the programs have the password from their environment."""
    program(folder, "pg_dump", f'echo "$PGPASSWORD $*" >{folder}/said; exec $REAL/pg_dump "$@"')
    pour(host(folder / "bin"), *places, "rescue", 60)
    assert told(places[1], "SELECT count(*), sum(length(t)) FROM rescue.a") == [(500, 500_000)]
    assert told(places[1], "SELECT obj_description('rescue'::regnamespace)") == [("made by a test",)]
    assert told(places[1], "SELECT relname FROM pg_class WHERE relname = 'a_pkey'") == [("a_pkey",)]
    said = (folder / "said").read_text()
    assert said.startswith("secret-of-salvor ")
    assert said.count("secret-of-salvor") == 1


@pytest.mark.parametrize(
    ("dump", "said"),
    [
        ("echo 'pg_dump: error: gone' >&2; exit 1", "pg_dump: error: gone"),
        ('$REAL/pg_dump "$@" | head -n 40; echo "it was killed" >&2; exit 137', "it was killed"),
        ('$REAL/pg_dump "$@"; echo "it was killed" >&2; exit 137', "it was killed"),
    ],
    ids=["at the beginning", "amid the rows", "at the end"],
)
def test_of_a_dump_that_was_cut_off_nothing_stays(places, folder: Path, dump: str, said: str) -> None:
    """Psql takes the end of its input for the end of the work, and would keep what has come; it is not told to."""
    program(folder, "pg_dump", dump)
    with pytest.raises(ScriptFailed, match=said):
        pour(host(folder / "bin"), *places, "rescue", 60)
    assert told(places[1], "SELECT count(*) FROM pg_namespace WHERE nspname = 'rescue'") == [(0,)]


def test_what_the_server_refuses_is_said_and_nothing_of_it_stays(places) -> None:
    """The sentence is the server's own, without the place in a dump that nobody sees."""
    told(places[1], "DROP TYPE mood")
    with pytest.raises(ScriptFailed, match=r'carried over: type "public.mood" does not exist'):
        pour(host(), *places, "rescue", 60)
    assert told(places[1], "SELECT count(*) FROM pg_namespace WHERE nspname = 'rescue'") == [(0,)]
    told(places[1], "CREATE TYPE mood AS ENUM ('sad'); CREATE SCHEMA rescue")
    with pytest.raises(ScriptFailed, match='schema "rescue" already exists'):
        pour(host(), *places, "rescue", 60)
    with pytest.raises(ScriptFailed, match=r"connection to server .* failed"):
        pour(host(), places[0], places[1].replace("/here", "/nowhere"), "rescue", 60)
