"""The tables of a copy, put beside those that are there: how it is done on either server."""

from __future__ import annotations

from pathlib import Path

from psycopg import sql

from blocks.errors import Ambiguous, SalvorError, StandDown
from blocks.table_copy import APPLICATION, pour
from tasks import queries
from tasks.backups.decide_extract import lacking
from tasks.backups.extract_state import ExtractPlan, Left, Table
from tasks.backups.looking import place_of
from tasks.backups.reach import PATIENCE, SCRATCH, Reach, quoted

EXTRACT = queries.load(Path(__file__).with_name("extract.sql"))
#: Seconds that a look at a catalog, or a change of it, may take.
CATALOG_SECONDS = 60.0


def filled(name: str, tables: tuple[tuple[str, str], ...] = (), into: str = "") -> str:
    """Give a query with its names put in as literals."""
    rows = sql.SQL(", ").join(sql.SQL("({}, {})").format(*map(sql.Literal, each)) for each in tables)
    return (
        EXTRACT[name]
        .replace("{tables}", rows.as_string(None))
        .replace("{into}", quoted(into))
        .replace("{application}", quoted(APPLICATION))
    )


def tables_at(at: Reach, node: str, database: str, tables: tuple[tuple[str, str], ...]) -> tuple[Table, ...]:
    """See what the tables are on NODE."""
    rows = at.ask(node, filled("tables", tables), CATALOG_SECONDS, database)
    return tuple(
        Table(schema_name=row["schema"], name=row["name"], **{k: row[k] for k in ("there", "unfit", "bytes")})
        for row in rows
    )


def schemas_at(at: Reach, node: str, database: str) -> tuple[Left, ...]:
    """Name the schemas of a database, with what each says of itself."""
    rows = at.ask(node, EXTRACT["schemas"], PATIENCE, database)
    return tuple(Left(schema_name=row["name"], mark=row["said"]) for row in rows)


def set_apart(at: Reach, plan: ExtractPlan) -> str:
    """Let the tables of the copy have the schema that they are to have, where no name can be mistaken."""
    try:
        found = tables_at(at, SCRATCH, plan.database, plan.tables)
        wrong = _unfit(at, plan, found) or _moved(at, plan)
    except SalvorError as error:  # whatever it was, it was the copy's, which is thrown away
        wrong = f"The tables could not be set apart in the copy: {error}"
    if wrong:
        raise StandDown(wrong)
    return f"{len(found)} tables of {sum(each.bytes for each in found) / 2**20:.1f} MB stand in {plan.into}"


def _unfit(at: Reach, plan: ExtractPlan, found: tuple[Table, ...]) -> str:
    if unfit := [f"{each.label}: {each.unfit}" for each in found if each.unfit]:
        return f"As of {plan.aim.said} this cannot be copied: {'; '.join(unfit)}."
    place = place_of(at, plan.onto, None)
    size = sum(each.bytes for each in found)
    return lacking(size, place.free_bytes, plan.onto) if place.reachable else ""


def _moved(at: Reach, plan: ExtractPlan) -> str:
    schema, mark = sql.Identifier(plan.into), sql.Literal(plan.mark)
    made = sql.SQL("CREATE SCHEMA {0}; COMMENT ON SCHEMA {0} IS {1}").format(schema, mark).as_string(None)
    # What a run that died had already loaded into production is in the copy as well, which is of a later moment.
    again = [
        sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(each.schema_name)).as_string(None)
        for each in plan.left
    ]
    _change(at, plan, *again, made, *_statements(at, plan, "detaching"))
    _change(at, plan, *_statements(at, plan, "baring"))
    return ""


def _statements(at: Reach, plan: ExtractPlan, name: str) -> list[str]:
    rows = at.ask(SCRATCH, filled(name, plan.tables, plan.into), CATALOG_SECONDS, plan.database)
    return [str(row["statement"]) for row in rows]


def _change(at: Reach, plan: ExtractPlan, *statements: str) -> None:
    if statements:  # sent as one, they are one transaction
        at.sql(SCRATCH, "; ".join(statements), deadline=plan.recover_seconds, dbname=plan.database)


def carry(at: Reach, plan: ExtractPlan) -> str:
    """Carry the schema over; when that fails, or is not known to have been done, nothing of it is left."""
    cleared = clear_left(at, plan)
    try:
        to = at.cluster.load_conninfo(plan.onto, plan.database)
        pour(at.node(SCRATCH), at.conninfo(SCRATCH, plan.database), to, plan.into, plan.restore_seconds)
    except Ambiguous as error:
        end_pouring(at, plan)
        if not standing(at, plan, Left(schema_name=plan.into, mark=plan.mark)):
            raise StandDown(f"{error} It was looked at: nothing of it is in {plan.database}.") from error
    except SalvorError as error:
        raise StandDown(f"{error} Nothing of it is in {plan.database}.") from error
    return "; ".join([*cleared, f"{plan.labels} stand in {plan.into} on {plan.onto}"])


def clear_left(at: Reach, plan: ExtractPlan) -> list[str]:
    """Remove what runs that died have left, or still load."""
    end_pouring(at, plan)
    return [said for each in plan.left if (said := drop(at, plan, each))]


def end_pouring(at: Reach, plan: ExtractPlan) -> None:
    """End the sessions that load copies."""
    at.sql(plan.onto, filled("pouring"), deadline=CATALOG_SECONDS, dbname=plan.database)


def standing(at: Reach, plan: ExtractPlan, made: Left) -> bool:
    """Whether a schema is there and says that it was made by that run."""
    return made in schemas_at(at, plan.onto, plan.database)


def drop(at: Reach, plan: ExtractPlan, made: Left) -> str:
    """Drop a schema with the tables that are in it, if it says that it was made by that run, and nobody built on it."""
    if not standing(at, plan, made):
        return ""
    rows = at.ask(plan.onto, filled("inside", into=made.schema_name), CATALOG_SECONDS, plan.database)
    schema = sql.Identifier(made.schema_name)
    names = [sql.Identifier(made.schema_name, str(row["name"])) for row in rows]
    tables = sql.SQL("DROP TABLE {}; ").format(sql.SQL(", ").join(names)) if names else sql.SQL("")
    # Without CASCADE: a view that somebody has made on them is not ours to drop.
    statement = (tables + sql.SQL("DROP SCHEMA {}").format(schema)).as_string(None)
    at.sql(plan.onto, statement, deadline=CATALOG_SECONDS, dbname=plan.database)
    return f"dropped {made.schema_name}"
