"""A query of the author's own that must return no rows."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from blocks.live_catalog import Catalog
from blocks.rules import Invariant
from tasks.consistency.checks import Check

MOST_CHARACTERS = 1000  #: of one row


def misfits(_rule: Invariant, _catalog: Catalog) -> Iterator[str]:
    """Say nothing: whether the query is one SELECT that fits is for the database to say."""
    yield from ()


def compiled(rule: Invariant, _catalog: Catalog) -> Check:
    """Wrap the query; on a line of its own, as it may end in a comment. ALONE is what the server must take for one."""
    query = sql.SQL(rule.query.strip().rstrip(";"))  # the one place where a rule is SQL
    # With the names of its columns, and whatever those are: `found` may be one of them.
    find = sql.SQL("SELECT left(row_to_json(found.*)::text, {}) FROM (\n{}\n) AS found").format(
        sql.Literal(MOST_CHARACTERS), query
    )
    return Check(rule=rule, table=None, find=find, alone=query)
