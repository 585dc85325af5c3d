"""Indexes that disagree with their table; found by amcheck, which asks of each row whether the index has it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from psycopg import sql

from blocks.live_catalog import Catalog
from blocks.rules import Index
from tasks.consistency.checks import Check
from tasks.consistency.fitting import table_misfits

#: Of the table and all its partitions. B-trees only: amcheck knows no others before PostgreSQL 18.
_INDEXES = """
SELECT c.oid::bigint::text, c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
WHERE i.indrelid IN (SELECT {table}::regclass UNION SELECT relid FROM pg_partition_tree({table}::regclass))
  AND c.relkind = 'i' AND i.indisvalid ORDER BY c.relname
"""


def misfits(rule: Index, catalog: Catalog) -> Iterator[str]:
    """Say what does not fit."""
    yield from table_misfits(catalog, rule.table)
    table = catalog.tables.get(rule.table)
    if table and table.kind in ("v", "f"):
        yield f"{table.label} is a view or a foreign table, which has no indexes here: name the table behind it."
    if not catalog.amcheck:
        yield "The extension amcheck is not in this database: CREATE EXTENSION amcheck (it ships with PostgreSQL)."
    elif not catalog.amcheck_allowed:
        yield f"Salvor may not run amcheck: GRANT EXECUTE ON FUNCTION {catalog.amcheck}(regclass, boolean) to its user."


def compiled(rule: Index, catalog: Catalog) -> Check:
    """Write the rule in SQL: FIND lists the indexes, and each is looked at by itself."""
    table = catalog.tables[rule.table]
    name = sql.Literal(table.identifier.as_string())
    return Check(
        rule=rule, table=None, find=sql.SQL(_INDEXES).format(table=name), each=partial(looked_at, catalog.amcheck)
    )


def looked_at(function: str, oid: str) -> sql.Composed:
    """Ask amcheck about one index; it raises what it finds."""
    return sql.SQL("SELECT {}({}::oid::regclass, true)").format(sql.SQL(function), sql.Literal(oid))
