"""What is lost when the host dies with its disk, and the archive is all there is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from tests.lab import blocks as lab_blocks
from tests.lab import schema
from tests.lab.app import App
from tests.lab.bench_backup_stage import Stage, load
from tests.lab.bench_rows import Row
from tests.lab.cluster import Lab
from tests.lab.processes import wait_until
from tests.lab.records import record
from tests.lab.tally import Tally

TARGET = "small"
KILLS = 5
WRITES_SECONDS = 3.0


def lost(stage: Stage, _: int) -> list[Row]:
    """Kill the host again and again: with commits that wait for the archive, and with commits that do not."""
    row = Row("rpo", "acknowledged rows lost with the host; commits wait for the archive", "rows")
    with _small(stage) as lab:
        stage.run("backup-take", TARGET, kind="full")
        waiting = [_killed(stage, lab, row, wait=True) for _ in range(KILLS)]
        free = [_killed(stage, lab, row, wait=False) for _ in range(KILLS)]
    row.ours = [each.lost for each in waiting]
    row.facts |= {
        "acknowledged_rows": sum(each.acknowledged for each in waiting),
        "duplicated_rows": sum(each.duplicated for each in waiting),
        "commit_ms": round(median(each.median_ms for each in waiting), 2),
        "lost_when_commits_do_not_wait": [each.lost for each in free],
        "commit_ms_when_they_do_not": round(median(each.median_ms for each in free), 2),
    }
    row.must(f"rows in {KILLS} kills", sum(row.ours), 0)
    return [row]


@contextmanager
def _small(stage: Stage) -> Iterator[Lab]:
    """Bring up a cluster of one small, durable server."""
    with Lab(nodes=1, sync=False, pooler=False, proxies=False) as lab:
        for name, block in lab_blocks.describe(lab, activity=True):
            if name == lab_blocks.CLUSTER:
                block.save(TARGET, overwrite=True)
        yield lab


def _killed(stage: Stage, lab: Lab, row: Row, *, wait: bool) -> Tally:
    node = lab.nodes["n1"]
    if wait:
        schema.demand_archive(node, [])
        wait_until(lambda: node.psql(schema.ARCHIVE_CONFIRMS), 30, "the archive to confirm commits")
    with App(lab) as app:
        app.await_writes(20)
        time.sleep(WRITES_SECONDS)
        record(stage.ledger, f"recovery.postgres.{TARGET}", lab)
        lab.destroy_all("n1")
        stage.run("disaster-recover", TARGET, approval="auto")
        app.await_writes(20)
        row.loads.append(load())
    return app.summary()
