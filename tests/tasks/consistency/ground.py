"""A database to try rules on: what a test makes in it is rolled back, and rules are looked at as the product does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from pydantic import TypeAdapter

from blocks import live_catalog
from blocks.live_catalog import Catalog
from blocks.rules import Rule
from tasks.consistency.checks import Advance, Assign, Check
from tasks.consistency.compile import compiled, named
from tasks.consistency.detect import Found, look
from tasks.consistency.phrases import COMMA, key_text
from tests.ledgers import sql as admin

MOST = 1000
_RULE: TypeAdapter[Rule] = TypeAdapter(Rule)


def rule(**facts: Any) -> Rule:
    return _RULE.validate_python({"name": "what is wrong", **facts})


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """Give an empty database that amcheck is in, in a schema of its own as some companies want it."""
    name = f"ground{uuid4().hex[:8]}"
    admin(server_url, f"CREATE DATABASE {name}")
    with psycopg.connect(f"{server_url}{name}", autocommit=True) as connection:
        connection.execute("CREATE SCHEMA extensions")
        connection.execute("CREATE EXTENSION amcheck SCHEMA extensions")
    yield f"{server_url}{name}"
    admin(server_url, f"DROP DATABASE {name} WITH (FORCE)")


class Ground:
    """One transaction of it."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.connection = connection

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def example(self) -> Iterator[None]:
        """Forget afterwards what is written in it."""
        with self.connection.transaction(force_rollback=True):
            yield

    def catalog(self, wanted: Rule) -> Catalog:
        return live_catalog.read(self.connection, "public", named([wanted]))

    def refusal(self, **facts: Any) -> str:
        """Give the sentences with which a rule is refused, each on a line; nothing when it fits."""
        (_, misfits) = compiled([rule(**facts)], self.catalog(rule(**facts)))
        return "\n".join(reason for misfit in misfits for reason in misfit.reasons)

    def check(self, **facts: Any) -> Check:
        wanted = rule(**facts)
        checks, misfits = compiled([wanted], self.catalog(wanted))
        assert misfits == [], misfits
        return checks[0]

    def look(self, check: Check) -> Found:
        (found,) = look(self.connection, [check], MOST, lambda *_: None)
        return found

    def found(self, check: Check) -> dict[tuple[str, ...], str]:
        """Give key and evidence of the wrong rows; asked for one by one, the same rows must be wrong."""
        seen = self.look(check)
        assert seen.finding.unseen == ""
        rows = dict(seen.rows)
        assert len(rows) == len(seen.rows) == seen.finding.found
        if check.table and check.table.primary_key and check.wrong:
            assert set(rows) == self._asked_again(check), "a row is wrong by one question and right by the other"
        return rows

    def found_keys(self, check: Check) -> list[tuple[str, ...]]:
        return [key for key, _ in self.look(check).rows]

    def _asked_again(self, check: Check) -> set[tuple[str, ...]]:
        assert check.table
        query = sql.SQL("SELECT {} FROM {} t WHERE {} FOR UPDATE OF t").format(
            COMMA.join(key_text(check.table)), check.table.identifier, check.wrong
        )
        return set(self.connection.execute(query).fetchall())

    def repaired(self, check: Check) -> None:
        """Do in one statement what a repair does in batches."""
        if isinstance(check.change, Advance):
            self.connection.execute(check.change.statement)
            return
        assert check.table
        if isinstance(check.change, Assign):
            sets = COMMA.join(
                sql.SQL("{} = {}").format(sql.Identifier(n), value) for n, value in check.change.values.items()
            )
            act = sql.SQL("UPDATE {} t SET {}").format(check.table.identifier, sets)
        else:
            act = sql.SQL("DELETE FROM {} t").format(check.table.identifier)
        self.connection.execute(sql.SQL("{} WHERE {}").format(act, check.wrong))
