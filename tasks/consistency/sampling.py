"""Hold guesses against some of the rows: how many point to nothing. It reads little, and never for long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import psycopg
from psycopg import sql

from blocks.app_database import Connection
from blocks.live_catalog import Catalog, Table
from tasks.consistency.phrases import columns, known, same
from tasks.consistency.policies import SuggestPolicy
from tasks.consistency.suggest_state import Guess, Sampled

Say = Callable[[str, float], None]
#: Rows that were never analysed are believed to be so long.
BYTES_A_ROW = 100.0
#: Pages are taken by chance, so that of a few there may be none.
LEAST_PAGES, PAGE_BYTES = 50, 8192
# The lateral join asks the index of the key once for each row of the sample; another plan could read the whole parent.
_SAMPLE = """
SELECT count(*), count(*) - count(p.found) FROM (SELECT {columns} FROM {child} t {some} WHERE {known} LIMIT {most}) t
LEFT JOIN LATERAL (SELECT true AS found FROM {parent} p WHERE {same} LIMIT 1) p ON true
"""


def sampled(
    connection: Connection, catalog: Catalog, guesses: Sequence[Guess], policy: SuggestPolicy, say: Say
) -> Iterator[Sampled]:
    """Look at rows for each guess in turn; past the time for all of them, only names count."""
    began = time.monotonic()
    for place, guess in enumerate(guesses):
        say(f"Looking at rows of {guess.table}", 10 + 80 * place / len(guesses))
        if not policy.sample_rows:
            yield Sampled(guess=guess, problem="the policy wants no sample")
        elif time.monotonic() - began > policy.samples_seconds:
            yield Sampled(guess=guess, problem="the time for all samples was over")
        else:
            yield _looked(connection, catalog, guess, policy)


def _looked(connection: Connection, catalog: Catalog, guess: Guess, policy: SuggestPolicy) -> Sampled:
    limit = str(round(policy.sample_seconds * 1000))
    try:
        with connection.transaction():
            connection.execute(
                "SELECT set_config('statement_timeout', %s, true), set_config('row_security', 'off', true)", [limit]
            )
            question = _question(catalog.tables[guess.table], catalog.tables[guess.parent], guess, policy.sample_rows)
            looked_at, missing = connection.execute(question).fetchall()[0]
    except psycopg.errors.QueryCanceled:
        return Sampled(guess=guess, problem=f"it took more than {policy.sample_seconds:g} s")
    except psycopg.Error as error:
        return Sampled(guess=guess, problem=(error.diag.message_primary or type(error).__name__).rstrip("."))
    return Sampled(guess=guess, looked_at=looked_at, missing=missing)


def _question(child: Table, parent: Table, guess: Guess, most: int) -> sql.Composed:
    some, limit = _some(child, most)
    pairs = dict(zip(guess.columns, guess.parent_columns, strict=True))
    return sql.SQL(_SAMPLE).format(
        columns=columns(guess.columns),
        child=child.identifier,
        some=some,
        known=known(guess.columns),
        most=sql.Literal(limit),
        parent=parent.identifier,
        same=same(pairs, "p"),
    )


def _some(table: Table, most: int) -> tuple[sql.Composable, int]:
    """Take pages all over the table, the same ones each time; of a small table all. Say how many rows are too many."""
    rows = max(1.0, table.rows if table.rows >= 0 else table.bytes / BYTES_A_ROW)
    share = max(most / rows, LEAST_PAGES * PAGE_BYTES / max(table.bytes, 1))
    # Twice as many: a limit below what is taken would cut off the newest rows.
    limit = round(2 * max(most, min(share, 1.0) * rows))
    if share >= 1:
        return sql.SQL(""), limit
    return sql.SQL("TABLESAMPLE SYSTEM ({}) REPEATABLE (0)").format(sql.Literal(100 * share)), limit
