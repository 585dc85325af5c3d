"""The users who are Stripe's customers: who is one twice, and which payments are nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import sql

from blocks.app_audit import AUDIT, as_json, kept
from blocks.app_database import AppDatabase, Connection

LIMIT = 1000
_DUPLICATES = """
SELECT u.{customer}, array_agg(u.{id} ORDER BY u.{id}), (SELECT {user} FROM {customers} c WHERE c.{key} = u.{customer}),
       count(*) OVER ()
FROM {users} u WHERE u.{customer} IS NOT NULL GROUP BY u.{customer} HAVING count(*) > 1 ORDER BY 1 LIMIT {limit}
"""
_RELEASE = """
WITH held AS MATERIALIZED (
    SELECT t.{id} AS id, {row} AS before FROM {users} t
    WHERE t.{customer} = %(customer)s AND t.{id} = ANY (%(users)s) AND EXISTS (
        SELECT FROM {users} k WHERE k.{id} = %(keeper)s AND k.{customer} = %(customer)s)
    FOR UPDATE OF t
), changed AS (
    UPDATE {users} t SET {customer} = NULL FROM held h WHERE t.{id} = h.id
    RETURNING t.{id} AS id, h.before, {row} AS after
)
INSERT INTO {audit} (run_id, table_name, row_id, operation, before, after)
SELECT %(run)s, 'users', id::text, 'release', before, after FROM changed
"""
_ORPHANS = """
SELECT p.{id}, p.{customer}, count(*) OVER ()
FROM {payments} p LEFT JOIN {customers} c ON c.{ckey} = p.{customer}
WHERE p.{deleted} IS NULL AND p.{customer} IS NOT NULL AND c.{ckey} IS NULL ORDER BY 1 LIMIT {limit}
"""
_WITHOUT_INVOICE = """
SELECT p.{id}, p.{invoice}, count(*) OVER ()
FROM {payments} p LEFT JOIN {invoices} i ON i.{ikey} = p.{invoice}
WHERE p.{deleted} IS NULL AND p.{invoice} IS NOT NULL AND i.{ikey} IS NULL ORDER BY 1 LIMIT {limit}
"""


def duplicates(database: AppDatabase, connection: Connection) -> tuple[list[tuple[str, list[int], int | None]], int]:
    """List the customers who are several users, with who the customer's own row says it is, and how many there are."""
    users, customers = database.users, database.customers
    query = sql.SQL(_DUPLICATES).format(
        id=sql.Identifier(users.id),
        customer=sql.Identifier(users.stripe_customer_id),
        user=sql.Identifier("c", customers.user_id) if customers.user_id else sql.SQL("NULL::bigint"),
        key=sql.Identifier(customers.id),
        users=database.identifier(users),
        customers=database.identifier(customers),
        limit=sql.Literal(LIMIT),
    )
    found = connection.execute(query).fetchall()
    return [(row[0], list(row[1]), row[2]) for row in found], found[0][3] if found else 0


class Release(NamedTuple):
    """Who keeps a customer, and from whom it is taken."""

    customer: str
    keeper: int
    users: Sequence[int]


def release(database: AppDatabase, connection: Connection, run_id: str, release: Release) -> int:
    """Take a customer from all users but the keeper, as long as the keeper has it."""
    mapping = database.users
    query = sql.SQL(_RELEASE).format(
        id=sql.Identifier(mapping.id),
        customer=sql.Identifier(mapping.stripe_customer_id),
        users=database.identifier(mapping),
        row=as_json(kept(mapping, ("stripe_customer_id",))),
        audit=AUDIT,
    )
    given = {"run": run_id, **release._asdict(), "users": list(release.users)}
    return connection.execute(query, given).rowcount


def orphans(
    database: AppDatabase, connection: Connection, parents: Sequence[str]
) -> tuple[list[tuple[str, str, str]], int]:
    """List payments whose parent in PARENTS is not there: (payment, table of the parent, parent), and how many."""
    payments, customers, invoices = database.payments, database.customers, database.invoices
    names = {
        "id": sql.Identifier(payments.id),
        "customer": sql.Identifier(payments.customer_id),
        "invoice": sql.Identifier(payments.invoice_id),
        "deleted": sql.Identifier(payments.deleted_at),
        "ckey": sql.Identifier(customers.id),
        "ikey": sql.Identifier(invoices.id),
        "payments": database.identifier(payments),
        "customers": database.identifier(customers),
        "invoices": database.identifier(invoices),
        "limit": sql.Literal(LIMIT),
    }
    listed, number = [], 0
    for table, query in (("customers", _ORPHANS), ("invoices", _WITHOUT_INVOICE)):
        if table in parents and (table != "invoices" or payments.invoice_id):
            found = connection.execute(sql.SQL(query).format(**names)).fetchall()
            listed += [(row[0], table, row[1]) for row in found]
            number += found[0][2] if found else 0
    return listed, number
