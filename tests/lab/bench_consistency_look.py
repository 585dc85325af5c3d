"""The looking half of the consistency bench: how long a look takes next to its bare query, and how much memory."""

from __future__ import annotations

from blocks.ledger import findings
from tests.lab.bench_consistency_naive import anti_join, not_in
from tests.lab.bench_consistency_stage import ORPHANS, TARGET, Stage, load
from tests.lab.bench_rows import Row

SMALL = "template_small"
TIMES_SMALLER = 10


def detect(stage: Stage, runs: int) -> list[Row]:
    """Find the orphans of the largest table."""
    row = Row("detect", f"find {5 * stage.lost:,} orphans in {5 * stage.users:,} rows")
    stage.begin_again()
    anti_join(stage)  # it only warms the server up
    for _ in range(max(3, runs)):
        row.floor.append(anti_join(stage))
        ran = stage.run("consistency-check", rules=[ORPHANS])
        (look,) = findings.history(stage.ledger, TARGET, 1)
        if look.found != 5 * stage.lost:
            raise RuntimeError(f"{look.found} orphans were found instead of {5 * stage.lost}: {look.said}")
        row.ours.append(look.seconds)
        row.loads.append(load())
    row.facts["whole_run_seconds"] = round(ran.seconds, 2)
    row.naive, row.sampled = not_in(stage)
    row.must("times the bare anti-join", row.figure / sorted(row.floor)[len(row.floor) // 2], 1.1)
    return [row]


def memory(stage: Stage, _: int) -> list[Row]:
    """The most that a run has which looks with every rule, at a shop and at one of a tenth of its size."""
    row = Row("memory", f"peak memory of a check of {12 * stage.users:,} rows", "MB")
    stage.make(SMALL, stage.users // TIMES_SMALLER)
    stage.begin_again(SMALL)
    small = stage.run("consistency-check")
    stage.begin_again()
    large = stage.run("consistency-check")
    row.ours.append(large.peak_mb)
    row.loads.append(load())
    row.facts["mb_at_a_tenth_of_the_rows"] = round(small.peak_mb, 1)
    row.facts["mb_of_imports_alone"] = round(large.imports_mb, 1)
    row.facts["whole_run_seconds"] = round(large.seconds, 1)
    row.must("MB", row.figure, 200)
    row.must("times the memory at a tenth of the rows", large.peak_mb / small.peak_mb, 1.05)
    return [row]
