"""Hold the mapping of an application's tables against the catalog of its database: one sentence per misfit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from blocks.app_tables import CALLED, TYPES, AppTable

_TABLE = """
SELECT c.oid::bigint, has_table_privilege(c.oid, 'SELECT'),
       has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'INSERT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
"""
_COLUMNS = """
SELECT a.attname, coalesce(nullif(b.typname, ''), t.typname)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = nullif(t.typbasetype, 0)
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
_UNIQUE = """
SELECT array(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey))
FROM pg_index i
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
"""


def misfits(
    connection: psycopg.Connection[Any], schema: str, tables: Sequence[AppTable], *, to_write: bool
) -> list[str]:
    """Say of every table what does not fit."""
    return [sentence for table in tables for sentence in _of_table(connection, schema, table, to_write=to_write)]


def _of_table(connection: psycopg.Connection[Any], schema: str, table: AppTable, *, to_write: bool) -> Iterator[str]:
    found = connection.execute(_TABLE, [schema, table.table]).fetchone()
    if found is None:
        yield f"There is no table {schema}.{table.table}: correct its name in the AppDatabase block, or create it."
        return
    oid, may_read, may_write = found
    if not may_read:
        yield f"Salvor may not read {table.table}: GRANT SELECT ON {_named(schema, table)} to its user."
    elif to_write and not may_write:
        yield f"Salvor may not write {table.table}: GRANT INSERT, UPDATE ON {_named(schema, table)} to its user."
    yield from _of_columns(dict(connection.execute(_COLUMNS, [oid]).fetchall()), schema, table)
    unique = [set(row[0]) for row in connection.execute(_UNIQUE, [oid]).fetchall()]
    wanted = [table.columns()[key] for key in table.primary_key]
    if set(wanted) not in unique:
        yield (
            f"{table.table} has no primary key on {', '.join(wanted)}: without one a row could be there twice."
            f" ALTER TABLE {_named(schema, table)} ADD PRIMARY KEY ({', '.join(wanted)})."
        )


def _of_columns(types: dict[str, str], schema: str, table: AppTable) -> Iterator[str]:
    kinds = table.kinds()
    for field, column in table.columns().items():
        kind = kinds[field]
        if column not in types:
            yield (
                f"{table.table} has no column {column} ({field}): correct its name in the AppDatabase block, or ALTER"
                f" TABLE {_named(schema, table)} ADD COLUMN {column} {CALLED[kind]}{_default(field)}."
            )
        elif types[column] not in TYPES[kind]:
            yield f"{table.table}.{column} is {types[column]}, and {field} needs {CALLED[kind]}."


def _default(field: str) -> str:
    return " NOT NULL DEFAULT '-infinity'" if field == "observed_at" else ""


def _named(schema: str, table: AppTable) -> str:
    return sql.Identifier(schema, table.table).as_string()
