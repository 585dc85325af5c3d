"""The resync's rows: without a limit, at Stripe's limit, the database's side alone, and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from typing import Any

from blocks.app_rows import SyncedRows
from tasks.stripe.compare import Comparison, Listing
from tasks.stripe.kinds import fields_of
from tasks.stripe.repair import repaired
from tasks.stripe.spool import Spool
from tests.lab.bench_rows import Row
from tests.lab.bench_stripe_naive import bare, one_by_one, row_by_row
from tests.lab.bench_stripe_stage import ENDPOINT_RATE, UNLIMITED, Ran, Stage

OBJECTS = 100_000
MILLION = 1_000_000
PAGE = 100
WINDOWS = 16
LATENCY_SECONDS, LIMITED_LATENCY_SECONDS = 0.05, 0.2
NAIVE_OBJECTS, NAIVE_ROWS = 60, 3_000
SUBSCRIPTIONS: dict[str, Any] = {"dry_run": False, "objects": ["subscriptions"], "workers": WINDOWS}
#: Every 38th row, that is 2.6 %, is wrong in one of three ways.
DRIFT = """
UPDATE subscriptions SET status = CASE abs(hashtext(id)) / 38 % 3 WHEN 0 THEN 'active!' ELSE status END,
    quantity = CASE abs(hashtext(id)) / 38 % 3 WHEN 1 THEN 99 ELSE quantity END,
    current_period_end = CASE abs(hashtext(id)) / 38 % 3 WHEN 2 THEN created_at ELSE current_period_end END
WHERE hashtext(id) % 38 = 0
"""
SOME = "SELECT id FROM subscriptions ORDER BY hashtext(id || 'some') LIMIT %s"


def unlimited(stage: Stage, runs: int) -> Row:
    """List, compare and repair, as fast as it goes."""
    row = Row("resync_unlimited", f"resync of {OBJECTS:,} subscriptions, no limit, 50 ms")
    _filled(stage, OBJECTS)
    stage.fake.faults(latency_seconds=LATENCY_SECONDS)
    for _ in range(runs):
        ran = _repaired(stage, row)
        row.ours.append(ran.repaired_seconds)
        row.floor.append(bare(stage.fake, ran.of("/v1/subscriptions"), WINDOWS))
    row.facts["whole_run_seconds"] = round(ran.seconds, 2)
    stage.sql(DRIFT)
    ids = [each for (each,) in stage.sql(SOME, [NAIVE_OBJECTS])]
    row.naive = one_by_one(stage.fake, stage.url, ids, OBJECTS)
    row.sampled = f"{NAIVE_OBJECTS} objects to {OBJECTS:,}"
    row.must("seconds", row.figure, 10)
    row.must("times the naive way", row.faster, 500, at_most=False)
    return row


def limited(stage: Stage, runs: int) -> Row:
    """The same at what Stripe allows: 25 requests a second for one endpoint, each of which takes 200 ms."""
    row = Row("resync_limited", f"resync of {OBJECTS:,} subscriptions, 25/s, 200 ms")
    _filled(stage, OBJECTS)
    stage.account(requests_per_second=100)
    stage.fake.faults(latency_seconds=LIMITED_LATENCY_SECONDS, rate_per_endpoint=ENDPOINT_RATE, rate_per_account=100)
    row.floor.append(OBJECTS / PAGE / ENDPOINT_RATE)
    refused = 0
    for _ in range(max(1, runs // 3)):
        ran = _repaired(stage, row)
        row.ours.append(ran.repaired_seconds)
        refused += ran.refused
    row.facts["objects_per_second"] = round(OBJECTS / row.figure)
    row.must("% of the limit's ceiling", 100 * OBJECTS / row.figure / (ENDPOINT_RATE * PAGE), 88, at_most=False)
    row.must("requests answered 429", refused, 0)
    return row


def database(stage: Stage, runs: int) -> Row:
    """Compare and repair alone: what Stripe said is in the spool of a run, and no Prefect is between."""
    row = Row("database_side", f"compare and repair {OBJECTS:,} rows, 2.6 % wrong")
    _filled(stage, OBJECTS)
    with closing(Spool(max(stage.folder.glob("*.spool")))) as spool:
        for number in range(runs + 1):  # the first one only warms the server up
            wrong, seconds = stage.sql(DRIFT).rowcount, _database_side(stage, spool, f"bench-{number}")
            row.facts["rows_repaired"] = wrong
            if number:
                row.ours.append(seconds)
                row.loads.append(os.getloadavg()[0])
        stage.sql(DRIFT)
        ids = {each for (each,) in stage.sql(SOME, [NAIVE_ROWS])}
        row.naive = row_by_row(stage.url, _should_be(spool, ids), OBJECTS)
    row.sampled = f"{NAIVE_ROWS:,} rows to {OBJECTS:,}"
    row.must("seconds", row.figure, 1)
    row.must("times the ORM row by row", row.faster, 250, at_most=False)
    return row


def memory(stage: Stage, _: int) -> Row:
    """The most that a whole run has, when not one row is there yet: each is listed, compared, added, compared again."""
    row = Row("memory", f"peak memory of a run with {MILLION:,} objects, each added", "MB")
    small, large = _filled(stage, OBJECTS), _filled(stage, MILLION)
    row.ours.append(large.peak_mb)
    row.loads.append(os.getloadavg()[0])
    row.facts |= {f"mb_at_{OBJECTS}": round(small.peak_mb), "mb_of_imports_alone": round(large.imports_mb)}
    row.facts["whole_run_seconds"] = round(large.seconds)
    row.phases.append(large.phases("/v1/subscriptions"))
    row.must("MB", row.figure, 300)
    row.must("times the memory at 100,000 objects", large.peak_mb / small.peak_mb, 1.3)
    return row


def _filled(stage: Stage, objects: int) -> Ran:
    """Let the shop begin with empty tables, and a resync fill them."""
    stage.begin_again(customers=objects // 2, subscriptions_per_customer=2, invoices=False)
    stage.account(**UNLIMITED)
    ran = stage.run("stripe-resync", **SUBSCRIPTIONS, max_changes=objects)
    found = stage.sql("SELECT count(*) FROM subscriptions").fetchone()
    if found != (objects,):
        raise RuntimeError(f"{found} subscriptions are there instead of {objects:,}.")
    stage.sql("VACUUM ANALYZE subscriptions")
    return ran


def _repaired(stage: Stage, row: Row) -> Ran:
    wrong = stage.sql(DRIFT).rowcount
    ran = stage.run("stripe-resync", **SUBSCRIPTIONS)
    row.loads.append(os.getloadavg()[0])
    row.phases.append(ran.phases("/v1/subscriptions"))
    row.facts |= {"rows_repaired": wrong, "requests": len(ran.requests), "peak_mb": round(ran.peak_mb)}
    row.facts["cpu_seconds"] = round(ran.cpu_seconds, 2)
    return ran


def _database_side(stage: Stage, spool: Spool, run_id: str) -> float:
    """Do what the run's own steps do between the last page and the commit."""
    begun = time.perf_counter()
    rows = SyncedRows(stage.database, "subscriptions", fields_of("subscriptions"))
    with stage.database.reading() as connection:
        Listing(stage.folder / f"differences-{run_id}.jsonl").write(connection, [Comparison(rows, spool)])
    done = repaired(stage.database, spool, ["subscriptions"], ["update"], run_id)["subscriptions"]
    seconds = time.perf_counter() - begun
    if done != stage.sql("SELECT count(*) FROM subscriptions WHERE hashtext(id) % 38 = 0").fetchall()[0][0]:
        raise RuntimeError(f"Only {done} rows were repaired.")
    return seconds


def _should_be(spool: Spool, ids: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    names = fields_of("subscriptions")
    for key, line, *_ in spool.rows("subscriptions"):
        if key in ids:
            values: dict[str, Any] = dict(zip(names, line.split("\t"), strict=True))
            times = {name: datetime.fromisoformat(values[name]) for name in names if name.startswith("current_")}
            truths = {name: values[name] == "t" for name in ("cancel_at_period_end", "paused")}
            kept = {name: values[name] for name in ("customer_id", "status", "price_id")}
            yield key, kept | times | truths | {"quantity": int(values["quantity"])}
