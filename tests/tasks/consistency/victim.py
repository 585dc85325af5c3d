"""A process that is forked for every death: everything is imported, and it dies where it is told to.

It reads one order a line, {"url", "ledger", "rules", "policy", "undo", "die"}, and answers with how often it passed
each place, or with {"died": true}. A place is a statement, or the moment before or after a commit, of the application's
database.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from pydantic import SecretStr

from blocks.app_database import AppDatabase, Connection
from blocks.ledger.block import Ledger
from tests.tasks.consistency.stage import Stage


class Fate:
    """Counts what is passed, and ends the process at one of them."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.place, self.number = "", 0

    def passing(self, place: str) -> None:
        self.passed[place] += 1
        if (place, self.passed[place]) == (self.place, self.number):
            os._exit(9)


FATE = Fate()


class MortalCursor(psycopg.Cursor[tuple[Any, ...]]):
    """Dies before a statement is sent."""

    def execute(self, *arguments: Any, **options: Any) -> Any:
        FATE.passing("statement")
        return super().execute(*arguments, **options)


class MortalDatabase(AppDatabase):
    """Dies where something is written; a look may be cut off anywhere, it changes nothing."""

    @contextmanager
    def session(self) -> Iterator[Connection]:
        with super().session() as connection:
            connection.cursor_factory = MortalCursor
            yield connection

    @contextmanager
    def written(self, connection: Connection) -> Iterator[None]:
        with super().written(connection):
            yield
            FATE.passing("before commit")
        FATE.passing("after commit")

    @contextmanager
    def outside(self) -> Iterator[Connection]:
        with super().outside() as connection:
            connection.cursor_factory = MortalCursor
            yield connection


def live(order: dict[str, Any]) -> None:
    """Do what is ordered, until death or to the end."""
    FATE.place, FATE.number = order["die"] or ("", 0)
    ledger = Ledger(url=SecretStr(order["ledger"]))
    stage = Stage(order["url"], ledger, order["rules"])
    stage.database = MortalDatabase(url=SecretStr(order["url"]))
    if order["undo"]:
        stage.undo(order["undo"])
    else:
        stage.repair(**order["policy"])


def main() -> None:
    """Fork for every order."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            live(json.loads(line))
            sys.stdout.write(json.dumps(FATE.passed) + "\n")
            sys.stdout.flush()
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            sys.stdout.write('{"died": true}\n')
            sys.stdout.flush()


if __name__ == "__main__":
    main()
