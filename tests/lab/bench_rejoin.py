"""How long it takes to bring an old primary of one gigabyte back, against a bare pg_rewind and start."""

from __future__ import annotations

import os
import time

import psycopg

from tests.lab.app import App
from tests.lab.bench_floor import Bare
from tests.lab.bench_outage import timeline
from tests.lab.bench_stage import Stage, recovered
from tests.lab.bench_table import Line
from tests.lab.cluster import Lab

#: Of about 1 kB each.
ROWS = 1_000_000
BATCH = 50_000
DIVERGED_ROWS = 1_000
# An autovacuum would part the servers by a gigabyte of WAL.
BALLAST = "CREATE TABLE ballast (id int PRIMARY KEY, filler text) WITH (autovacuum_enabled = off)"
FILL = "INSERT INTO ballast SELECT g, repeat(md5(g::text), 30) FROM generate_series({}, {}) g"
DIVERGE = f"UPDATE ballast SET filler = reverse(filler) WHERE id <= {DIVERGED_ROWS}"
# Not by a scan of the whole table: the first one after a fill leaves hint bits, and with them WAL, on every page.
LOCAL = "-c synchronous_commit=local -c enable_seqscan=off"
BEHIND = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn < pg_current_wal_lsn()"


def rejoin(stage: Stage, runs: int) -> Line:
    """Kill a primary that has rows of its own, promote another, bring the old one back: by our procedure, and bare."""
    line = Line("rejoin_1gb", "rejoin of the old primary, 1 GB", 2.0, reach_is_ratio=True)
    with stage.lab() as lab:
        fill(lab)
        for _ in range(runs):
            parted(lab)
            take_ours(stage, lab, line)
            take_floor(lab, line, parted(lab))
    return line


def fill(lab: Lab) -> None:
    """Give the cluster its gigabyte, and let every standby have it."""
    first = lab.nodes[lab.primary()]
    first.psql(BALLAST, "orders")
    for start in range(1, ROWS, BATCH):
        first.psql(FILL.format(start, start + BATCH - 1), "orders", seconds=300)
    for node in lab.nodes.values():
        node.psql("CHECKPOINT", seconds=300)
    os.sync()  # what is left in memory of a fill would be written in the middle of a rewind
    while first.psql(BEHIND)[0][0]:
        time.sleep(0.2)


def parted(lab: Lab) -> str:
    """Let the primary write what nobody else gets, and die; let another take over; return who died."""
    with Bare(lab) as bare, App(lab) as app:
        app.await_writes(100)
        bare.stop_receiving()
        with psycopg.connect(lab.nodes[bare.old].conninfo("orders", options=LOCAL), autocommit=True) as session:
            session.execute(DIVERGE)  # type: ignore[call-overload]
        lab.kill_node(bare.old)
        bare.failover()
        app.await_writes(100)
        return bare.old


def take_ours(stage: Stage, lab: Lab, line: Line) -> None:
    """Measure the procedure, from the moment it is asked for until the node streams."""
    ward = stage.ward(lab)
    began = time.time()
    run = recovered(ward.run("postgres-rejoin"))
    line.phases.append(timeline(ward, run, began))
    line.ours.append(line.phases[-1]["start-following"])
    line.loads.append(os.getloadavg()[0])


def take_floor(lab: Lab, line: Line, old: str) -> None:
    """Measure pg_rewind and a start."""
    with Bare(lab, dead=old) as bare:
        new, began = lab.primary(), time.monotonic()
        bare.rejoin(new)
        line.floor.append(time.monotonic() - began)
        bare.trust_all(new)
