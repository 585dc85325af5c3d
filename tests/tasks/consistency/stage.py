"""An application whose rows are wrong, on a real PostgreSQL, and the beats of repair and undo without Prefect."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from pydantic import SecretStr
from sqlalchemy import select

from blocks.app_database import AppDatabase
from blocks.ledger import runs
from blocks.ledger.block import Ledger
from blocks.ledger.records import NewRun
from blocks.ledger.schema import metadata
from blocks.ledger.schema import runs as run_table
from blocks.rule_pack import RulePack
from tasks import ending
from tasks.consistency.decide_repair import decide_again, decide_repair
from tasks.consistency.decide_undo import decide_undo, judge_undo
from tasks.consistency.decide_undo import unlooked as undo_unlooked
from tasks.consistency.judge_repair import figures_of, judge_repair, unlooked
from tasks.consistency.reach import Reach
from tasks.consistency.repair_act import advance_sequences, prove_fences, raise_fences, repair_rows
from tasks.consistency.repair_policies import RepairPolicy, UndoPolicy
from tasks.consistency.repair_probe import observe_faults, observe_repaired, observe_rules
from tasks.consistency.undo_act import give_rows_back, unfence
from tasks.consistency.undo_probe import Changed, observe_changes
from tasks.effects import take_back
from tasks.guard import CURRENT, Recovery, approve
from tasks.model import Policy, Report
from tasks.report import Progress
from tests.ledgers import silence, sql, sqlite_ledger

TARGET = "app"
#: Everything may be repaired, and nobody is asked.
FREE = {"dry_run": False, "max_share": 1.0, "approve_above_rows": 1_000_000}


class Silent(Progress):
    """A bar that nobody looks at."""

    def say(self, sentence: str, percent: float) -> None:
        """Show nothing."""

    def finish(self, sentence: str) -> None:
        """Show nothing."""


class ChangedHere(Changed):
    """What the undo works on, without Prefect's blocks."""

    def __init__(self, database: AppDatabase) -> None:
        self.target, self.database = TARGET, database


def concluded(ledger: Ledger, procedure: str, policy: Policy, body: Callable[[], Report]) -> Report:
    """Run BODY as a procedure, as flows.procedure does, without Prefect."""
    new = NewRun(
        flow_run_id=str(uuid4()), procedure=procedure, target=TARGET, dry_run=policy.dry_run,
        timeout_seconds=policy.timeout_seconds,
    )  # fmt: skip
    recovery = Recovery(ledger=ledger, run=runs.register(ledger, new), progress=Silent(procedure, TARGET))
    token = CURRENT.set(recovery)
    try:
        report, stop = _attempted(body)
        failed = take_back(recovery, stop) if stop else []
        report = ending.judged(recovery, report, stop, failed)
        ending.close(recovery, report)
        return report
    finally:
        CURRENT.reset(token)


def _attempted(body: Callable[[], Report]) -> tuple[Report, Exception | None]:
    try:
        return body(), None
    except Exception as error:  # noqa: BLE001  # as a procedure takes every error
        return Report(), error


def rehearse(at: Reach, policy: RepairPolicy, between: Callable[[], object] = lambda: None) -> Report:
    """Pass the beats of consistency-repair; BETWEEN happens when the plan is approved and nothing is changed yet."""
    before = observe_faults.fn(at, policy)
    decision = decide_repair(before, policy)
    plan = approve(decision, policy, lambda: decide_again(decision, observe_rules.fn(at, policy)))
    between()
    raise_fences.fn(at, plan, policy)
    repair_rows.fn(at, plan, policy)
    advance_sequences.fn(at, plan, policy)
    prove_fences.fn(at, plan, policy)
    after = observe_repaired.fn(at, plan, policy)
    return Report(
        plan=plan,
        evidence=judge_repair(plan, after),
        figures=figures_of(plan, after),
        unverified=unlooked(plan, after),
    )


def rehearse_undo(at: Changed, policy: UndoPolicy) -> Report:
    """Pass the beats of consistency-undo."""

    def decided() -> Any:
        return decide_undo(observe_changes.fn(at, policy), policy)

    plan = approve(decided(), policy, decided)
    unfence.fn(at, plan)
    give_rows_back.fn(at, plan)
    after = observe_changes.fn(at, policy)
    return Report(plan=plan, evidence=judge_undo(plan, after), unverified=undo_unlooked(after))


class Stage:
    """A database with a pack, and a ledger elsewhere."""

    def __init__(self, url: str, ledger: Ledger, rules: str = "") -> None:
        self.url, self.ledger = url, ledger
        self.database = AppDatabase(url=SecretStr(url))
        self.rules = rules

    @property
    def at(self) -> Reach:
        return Reach(TARGET, self.database, RulePack(rules=self.rules))

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def clear(self, tables: str) -> None:
        """Begin again with TABLES, as SQL, and nothing of ours."""
        self.sql(f"DROP SCHEMA IF EXISTS salvor CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public; {tables}")

    def repair(self, *, between: Callable[[], object] = lambda: None, **policy: Any) -> Report:
        given = RepairPolicy(**FREE | policy)
        return concluded(self.ledger, "consistency-repair", given, lambda: rehearse(self.at, given, between))

    def undo(self, repaired: Report | str, **policy: Any) -> Report:
        run_id = repaired if isinstance(repaired, str) else look_of(repaired)
        given = UndoPolicy(run_id=run_id, **policy)
        at = ChangedHere(self.database)
        return concluded(self.ledger, "consistency-undo", given, lambda: rehearse_undo(at, given))

    def hashes(self, *but: str) -> dict[str, str]:
        """Give a hash of every table's rows."""
        return {name: self.sql(f"{HASH} {name} t")[0][0] for name in self.tables() if name not in but}

    def tables(self) -> list[str]:
        query = "SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'public'::regnamespace"
        return [name for (name,) in self.sql(f"{query} AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY 1")]

    def rows(self, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
        return self.sql(f"SELECT {columns} FROM {table} ORDER BY 1")

    def quarantined(self) -> int:
        """Count the rows that are in quarantine and not given back."""
        names = self.sql("SELECT name FROM salvor.consistency_quarantines")
        query = 'SELECT count(*) FROM salvor."{}" WHERE salvor_undone_by IS NULL'
        return sum(self.sql(query.format(name))[0][0] for (name,) in names)

    def run_ids(self) -> list[str]:
        with self.ledger.read() as connection:
            return list(connection.execute(select(run_table.c.id).order_by(run_table.c.started_at)).scalars())

    def forget(self) -> None:
        """Let the ledger know of no run."""
        with self.ledger.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())

    def bury(self) -> None:
        """Let every run that has not ended look as if its process had died long ago."""
        for run_id in self.run_ids():
            if runs.find(self.ledger, run_id).active:
                silence(self.ledger, run_id)


HASH = "SELECT coalesce(md5(string_agg(t::text, chr(10) ORDER BY t::text)), '') FROM"


def look_of(report: Report) -> str:
    """Give the id under which a repair did what it did."""
    assert report.plan, report.why
    return str(report.plan.look)  # type: ignore[attr-defined]  # a RepairPlan


def conserved(report: Report) -> str:
    """Give what became of all rows: `12 = 10 repaired + …`."""
    (said,) = [each for each in report.evidence if each.claim.startswith("every row is accounted for")]
    assert said.holds, said.seen
    return said.seen


def stage_on(server: str, folder: Path, name: str) -> Stage:
    """Give an empty database on SERVER, and a ledger in FOLDER."""
    with suppress(psycopg.errors.DuplicateDatabase):
        sql(server, f"CREATE DATABASE {name}")
    return Stage(f"{server}{name}", sqlite_ledger(folder))
