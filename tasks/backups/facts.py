"""The numbers that a restore is compared with: rows of every table, and what the invariants say."""

from __future__ import annotations

from psycopg import sql

from blocks.errors import Misconfigured, SalvorError
from tasks.backups.reach import SQL, Reach

COUNT_SECONDS = 1800.0
#: Tables whose rows are counted by one statement.
BATCH = 50


def databases(at: Reach, node: str) -> list[str]:
    """Name the databases that hold an application's rows."""
    return at.block.databases or [str(row["name"]) for row in at.ask(node, SQL["databases"])]


def count(at: Reach, node: str) -> dict[str, int]:
    """Count the rows of every table, and ask every invariant, on NODE."""
    wanted = databases(at, node)
    found: dict[str, int] = {}
    for database in wanted:
        tables = [(str(row["schema"]), str(row["name"])) for row in at.ask(node, SQL["tables"], dbname=database)]
        for first in range(0, len(tables), BATCH):
            statement = _counting(tables[first : first + BATCH])
            for row in at.ask(node, statement, COUNT_SECONDS, database):
                found[f"{database}.{row['name']}"] = int(row["rows"])
    for name, query in at.block.invariants.items():
        found[name] = _asked(at, node, name, query, wanted[0])
    return found


def _counting(tables: list[tuple[str, str]]) -> str:
    parts = (
        sql.SQL("SELECT {} AS name, count(*) AS rows FROM {}").format(
            sql.Literal(f"{schema}.{name}"), sql.Identifier(schema, name)
        )
        for schema, name in tables
    )
    return sql.SQL(" UNION ALL ").join(parts).as_string(None)


def _asked(at: Reach, node: str, name: str, query: str, database: str) -> int:
    try:
        rows = at.ask(node, query, COUNT_SECONDS, database)
        (value,) = rows[0].values()
        return int(value)
    except (SalvorError, LookupError, TypeError, ValueError) as error:
        raise Misconfigured(f"The invariant `{name}` of the repository gave no number: {error}") from error
