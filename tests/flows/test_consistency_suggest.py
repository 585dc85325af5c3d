"""Proposing rules, as a person starts it; what is proposed is told in tests/tasks/consistency/test_suggest.py."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.ledger import outbox
from blocks.rule_pack import RulePack, parsed
from flows.consistency_check import consistency_check
from flows.consistency_suggest import consistency_suggest
from tests.ledgers import sql

TABLES = """
CREATE TABLE users (id int PRIMARY KEY);
CREATE TABLE jobs (id serial PRIMARY KEY, user_id int, host_id int);
INSERT INTO users SELECT generate_series(1, 20);
INSERT INTO jobs (user_id) SELECT generate_series(1, 22);
"""


@pytest.fixture
def url(ledger_server, saved) -> Iterator[str]:
    """An application that nobody wrote rules for, known to Prefect as `suggested`."""
    sql(ledger_server, "DROP DATABASE IF EXISTS suggested WITH (FORCE)")
    sql(ledger_server, "CREATE DATABASE suggested")
    url = f"{ledger_server}suggested"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES.encode())
    AppDatabase(url=SecretStr(url)).save("suggested", overwrite=True)
    yield url
    sql(ledger_server, "DROP DATABASE suggested WITH (FORCE)")


def xmax(url: str) -> str:
    with psycopg.connect(url) as connection:
        return str(connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())").fetchall()[0][0])


def artifact(key: str) -> str:
    with get_client(sync_client=True) as client:
        found = [a for a in client.read_artifacts() if a.key == key]
    return str(max(found, key=lambda a: a.created).data)


def test_what_it_proposes_can_be_pasted_and_finds_what_is_wrong(url, saved):
    """The report names the artifact; its YAML is a pack with which the check finds the rows; then nothing is left."""
    before = xmax(url)
    state = consistency_suggest("suggested", requested_by="ada", return_state=True)
    assert xmax(url) == before
    assert state.name == "NothingToDo", state.message
    assert state.message.startswith("1 orphan rules and 1 sequence rules are proposed for the 2 tables of public. Rows")
    assert "the artifact consistency-suggested-suggestion" in state.message
    page = artifact("consistency-suggested-suggestion")
    (pack,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert "| jobs | host_id | no table is named after it" in page

    assert len(parsed(pack).rules) == 2
    RulePack(rules=pack).save("suggested", overwrite=True)
    found = consistency_check("suggested", {"alert": False}, return_state=True)
    assert found.message == "1 of 2 rules are broken: jobs whose user_id is not in users: 2."
    again = consistency_suggest("suggested", requested_by="ada", return_state=True)
    assert again.message == "Nothing is proposed for the 2 tables of public. 2 more are in the rule pack already."
    assert [each for each in outbox.undelivered(saved) if each.kind == "notification"] == []


def test_without_the_database_it_is_refused(saved):
    """The sentence names the block that is missing; nothing else is needed."""
    state = consistency_suggest("nowhere", requested_by="ada", return_state=True)
    assert state.name == "Refused"
    assert "There is no block nowhere of the type Salvor application database" in state.message
