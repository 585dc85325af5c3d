"""How long it takes to bring an old primary of one gigabyte back, against a bare pg_rewind and start."""

from __future__ import annotations

import os
import time

from tests.lab.app import App
from tests.lab.bench_floor import Bare
from tests.lab.bench_outage import timeline
from tests.lab.bench_stage import Stage, recovered
from tests.lab.bench_table import Line
from tests.lab.cluster import Lab

#: Rows of about 1 kB each.
ROWS = 1_000_000
BATCH = 100_000
FILL = "INSERT INTO ballast SELECT g, repeat(md5(g::text), 30) FROM generate_series({}, {}) g"


def rejoin(stage: Stage, runs: int) -> Line:
    """Kill the primary under write load, promote another, then bring the old one back: by our procedure and bare."""
    line = Line("rejoin_1gb", "rejoin of the old primary, 1 GB", 2.0, reach_is_ratio=True)
    with stage.lab() as lab:
        fill(lab)
        for _ in range(runs):
            take_ours(stage, lab, line)
            take_floor(lab, line)
    return line


def fill(lab: Lab) -> None:
    """Give the cluster its gigabyte, and let every standby have it."""
    first = lab.primary()
    lab.psql(first, "CREATE TABLE ballast (id int PRIMARY KEY, filler text)", "orders")
    for start in range(1, ROWS, BATCH):
        lab.nodes[first].psql(FILL.format(start, start + BATCH - 1), "orders", seconds=120)
    lab.nodes[first].psql("CHECKPOINT", seconds=120)
    behind = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn < pg_current_wal_lsn() - 65536"
    while lab.psql(first, behind)[0][0]:
        time.sleep(0.2)


def parted(lab: Lab) -> Bare:
    """Let the primary die in the middle of writes that nobody else got, and another take over."""
    bare = Bare(lab)
    with bare, App(lab) as app:
        app.await_writes(100)
        for name in bare.standbys:  # what is written from here on only the old primary has
            bare._sql(name, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")  # noqa: SLF001
        time.sleep(0.5)
        lab.kill_node(bare.old)
        bare.failover()
        app.await_writes(100)
    return bare


def take_ours(stage: Stage, lab: Lab, line: Line) -> None:
    """Measure the procedure, from the moment it is asked for until the node streams."""
    parted(lab)
    ward, began = stage.ward(lab), time.time()
    run = recovered(ward.run("postgres-rejoin"))
    phases = timeline(ward, run, began, None)
    line.ours.append(phases["start-following"])
    line.phases.append(phases)
    line.loads.append(os.getloadavg()[0])


def take_floor(lab: Lab, line: Line) -> None:
    """Measure pg_rewind and a start."""
    old = parted(lab).old
    with Bare(lab) as bare:
        bare.old, began = old, time.monotonic()
        bare.rejoin(lab.primary())
        line.floor.append(time.monotonic() - began)
        bare.trust_all(lab.primary())
