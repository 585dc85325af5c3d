"""The patient is what it says: it lives, every breaker breaks exactly one thing, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.lab import processes
from tests.lab.account import CHECKOUT, place
from tests.lab.app import App
from tests.lab.cluster import Lab
from tests.lab.node import PASSWORD, LabNode
from tests.lab.ports import listens

#: How long something may take on a busy machine; how long nothing must come from what hangs.
PATIENCE, SILENCE = 30, 0.5


def shell(node: LabNode, script: str) -> int:
    """Run a script on a node's host as Salvor would, and return its exit code."""
    argv = [node.host_shell, script]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False).returncode


def hangs(node: LabNode) -> bool:
    """Tell whether the host says nothing."""
    with subprocess.Popen([node.host_shell, "true"], stdin=subprocess.DEVNULL) as asking:
        try:
            asking.wait(SILENCE)
        except subprocess.TimeoutExpired:
            asking.kill()
            return True
    return False


def says(node: LabNode, user: str = "salvor") -> str:
    """Connect to a node as USER and name what happens: connected, refused, reset or silent."""
    target = psycopg.conninfo.make_conninfo(
        host=node.host, port=node.port, user=user, password=PASSWORD, dbname="orders", connect_timeout=2
    )
    try:
        psycopg.connect(target).close()
    except psycopg.errors.ConnectionTimeout:
        return "silent"
    except psycopg.OperationalError as error:
        return "refused" if "Connection refused" in str(error) else "reset"
    return "connected"


def segments() -> set[str]:
    return {row.split()[1] for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def segment_of(node: LabNode) -> str:
    return (node.data / "postmaster.pid").read_text().splitlines()[6].split()[1]


def test_it_lives_and_leaves_nothing() -> None:
    """A lab has one primary, confirmed commits and a shop; ended, no process, port, segment or file of it is left."""
    with Lab() as lab, App(lab) as app:
        app.await_writes(20)
        assert (lab.primary(), lab.standbys(), lab.streaming("n1")) == ("n1", ["n2", "n3"], ["n2", "n3"])
        assert lab.psql("n1", "SHOW synchronous_standby_names") == [("ANY 1 (n2,n3)",)]
        assert lab.psql("n1", "SHOW fsync") == [("on",)]
        ports = {node.port for node in lab.nodes.values()} | {node.server_port for node in lab.nodes.values()}
        kept = {segment_of(node) for node in lab.nodes.values()}
        assert all(listens(port) for port in ports)
        assert kept <= segments()
        lab.kill_node("n2")
        lab.freeze("n3")
    assert not [pid for pid in processes.belonging(lab.root) if processes.alive(pid)]
    assert not any(listens(port) for port in ports)
    assert not kept & segments()
    assert not lab.root.exists()


def test_databases_do_not_run_as_root() -> None:
    """Servers and pooler run as the unprivileged user, whoever brought them up."""
    with Lab(fast=True) as lab:
        pids = [pid for node in lab.nodes.values() for pid in node.processes()]
        pids += processes.belonging(lab.pooler.folder) if lab.pooler else []
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in pids} == {lab.account.uid}
        assert lab.account.uid != 0


def test_a_failed_start_leaves_nothing() -> None:
    """When a node cannot start, the nodes that did are ended and the folder is removed."""
    lab = Lab(fast=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", lab.nodes["n3"].server_port))
        taken.listen()
        with pytest.raises(RuntimeError, match="n3 did not start"):
            lab.up()
    assert not processes.belonging(lab.root)
    assert not lab.root.exists()


def test_it_ends_with_its_owner() -> None:
    """A lab whose process was SIGKILLed is ended and removed by what is left of it."""
    root = place()
    code = "Lab(Path(sys.argv[1]), 1).up(); print('up', flush=True); time.sleep(60)"
    imports = "import sys, time; from pathlib import Path; from tests.lab.cluster import Lab; "
    argv = [sys.executable, "-c", imports + code, str(root)]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "up\n"
        owner.kill()
    processes.wait_until(lambda: not root.exists(), 10, "the lab to be removed")
    processes.wait_until(lambda: not processes.belonging(root), 10, "the lab to end")


def test_deaths_are_told_apart() -> None:
    """A killed node refuses and its host answers; a node without power is silent, and its host is gone."""
    with Lab(fast=True) as lab:
        n1, n2 = lab.nodes["n1"], lab.nodes["n2"]
        assert (says(n1), shell(n1, "exit 7")) == ("connected", 7)
        lab.kill_postmaster("n1")
        processes.wait_until(lambda: not n1.processes(), PATIENCE, "the orphans to notice")
        assert (says(n1), shell(n1, "true")) == ("refused", 0)
        lab.kill_node("n2", host=False)
        assert (says(n2), shell(n2, "true"), n2.processes()) == ("silent", 255, [])
        lab.revive_host("n2")
        assert (says(n2), shell(n2, "true")) == ("refused", 0)
        n2.start()
        assert says(n2) == "connected"


def test_a_board_cuts_the_power_and_proves_it() -> None:
    """The management board switches a host off and says whether it is; an order for one leaves the others alone."""
    with Lab(nodes=2, fast=True) as lab:
        board = lab.board.parent
        assert board_says(board, "state n1") == (1, "n1 is on\n")
        assert board_says(board, "off n1") == (0, "n1 goes off\n")
        processes.wait_until(lambda: board_says(board, "state n1") == (0, "n1 is off\n"), PATIENCE, "n1 to be off")
        assert (lab.nodes["n1"].processes(), says(lab.nodes["n1"])) == ([], "silent")
        assert (says(lab.nodes["n2"]), board_says(board, "state n2")[0]) == ("connected", 1)


def board_says(board: Path, order: str) -> tuple[int, str]:
    done = subprocess.run(
        [board / "host", order], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout


def test_a_frozen_machine_hangs_and_goes_on() -> None:
    """A frozen node neither answers nor refuses, its shell hangs, and thawed it writes on with the same processes."""
    with Lab() as lab, App(lab) as app:
        app.await_writes(5)
        before = lab.nodes["n1"].postmaster()
        lab.freeze("n1")
        frozen_at = app.now()
        assert (says(lab.nodes["n1"]), hangs(lab.nodes["n1"])) == ("silent", True)
        assert app.acknowledged_after(frozen_at + 1) == 0
        lab.thaw("n1")
        app.await_writes(5)
        assert (lab.nodes["n1"].postmaster(), shell(lab.nodes["n1"], "true")) == (before, 0)


def test_salvor_alone_is_cut_off() -> None:
    """Cut off from Salvor, a node is silent to it and its host hangs, while clients and standbys notice nothing."""
    with Lab() as lab, App(lab) as app:
        app.await_writes(5)
        n1 = lab.nodes["n1"]
        lab.cut("n1", from_="salvor")
        assert (says(n1), hangs(n1), says(n1, "shop")) == ("silent", True, "connected")
        app.await_writes(20)
        assert (app.summary().errors, lab.streaming("n1")) == (0, ["n2", "n3"])
        lab.mend("n1")
        assert (says(n1), shell(n1, "true")) == ("connected", 0)
        lab.cut("n1", mode="refuse")
        assert (says(n1), shell(n1, "true")) == ("reset", 255)
        lab.cut("n1", from_="all", mode="refuse")
        assert says(n1, "shop") == "refused"
        lab.mend("n1")
        assert (says(n1), shell(n1, "true")) == ("connected", 0)
        assert app.summary().lost == 0


def test_cut_off_standbys_stop_commits() -> None:
    """With all standbys cut off nothing is acknowledged; with one of them it goes on."""
    with Lab() as lab, App(lab) as app:
        app.await_writes(5)
        lab.cut("n1", from_="n2")
        app.await_writes(20)
        lab.cut("n1", from_="standbys")
        cut_at = app.now()
        processes.wait_until(lambda: not lab.streaming("n1"), 10, "the primary to give its standbys up")
        assert app.acknowledged_after(cut_at + 1) == 0
        assert says(lab.nodes["n1"]) == "connected"
        lab.mend("n1")
        app.await_writes(5)
        assert app.summary().lost == 0
        lab.cut("n1", from_="standbys")
        lab.kill_node("n1")
        assert lab.nodes["n1"].processes() == []


def test_a_host_passes_on_everything() -> None:
    """A script gets its standard input, works as the database's user, and gives back output and exit code."""
    with Lab(nodes=1, fast=True) as lab:
        n1 = lab.nodes["n1"]
        script = "cat; id -un; echo wrong >&2; exit 3"
        done = subprocess.run(
            [n1.host_shell, script], input="it's\ntwo lines\n", capture_output=True, text=True, check=False
        )
        assert done.stdout == f"it's\ntwo lines\n{lab.account.name}\n"
        assert (done.stderr, done.returncode) == ("wrong\n", 3)


def test_standbys_lag_and_diverge() -> None:
    """A lagging standby receives nothing or applies nothing; a diverged one holds rows that the primary has not."""
    with Lab(sync=False, fast=True) as lab:
        lab.lag("n2", "stop")
        processes.wait_until(lambda: lab.streaming("n1") == ["n3"], PATIENCE, "n2 to stop receiving")
        lab.lag("n3", "pause")
        lab.psql("n1", "CREATE TABLE late ()", "orders")
        assert lab.psql("n3", "SELECT to_regclass('late')", "orders") == [(None,)]
        lab.unlag("n2")
        lab.unlag("n3")
        processes.wait_until(lambda: lab.streaming("n1") == ["n2", "n3"], PATIENCE, "both to stream")
        lab.diverge("n2", rows=7)
        assert lab.psql("n2", "SELECT count(*) FROM orders", "orders") == [(7,)]
        lab.diverge("n3", new_timeline=True)
        assert lab.standbys() == ["n2", "n3"]
        lab.psql("n1", "CREATE TABLE filler AS SELECT generate_series(1, 100000)", "orders")
        processes.wait_until(lambda: lab.streaming("n1") == [], PATIENCE, "the diverged to fall off")


def test_a_doomed_candidate_dies_promoting() -> None:
    """A doomed standby dies in its promotion, on the new timeline already, so that nobody is primary afterwards."""
    with Lab(sync=False, fast=True) as lab:
        lab.doom("n2")
        lab.kill_node("n1")
        with pytest.raises(psycopg.OperationalError):
            lab.psql("n2", "SELECT pg_promote()")
        processes.wait_until(lambda: not lab.nodes["n2"].processes(), PATIENCE, "n2 to die")
        assert lab.primaries() == []
        assert (lab.nodes["n2"].data / "pg_wal" / "00000002.history").exists()


def test_a_dead_node_cannot_be_rewound() -> None:
    """Without its WAL, or without room, a rewind of the old primary fails."""
    with Lab(sync=False, fast=True) as lab:
        n1, n2 = lab.nodes["n1"], lab.nodes["n2"]
        lab.kill_node("n1")
        lab.psql("n2", "SELECT pg_promote()")
        lab.psql("n2", "CHECKPOINT")
        source = f"host={n2.host} port={n2.port} user=postgres password={PASSWORD} dbname=postgres"
        rewind = f"{n1.bin}/pg_rewind --dry-run -D {n1.data} --source-server='{source}'"
        how = lab.fill_disk("n1", spare_mb=2)
        fill = "dd if=/dev/zero of=disk/x bs=1M count=3"
        assert (how in ("tmpfs", "file size"), shell(n1, fill) != 0) == (True, True)
        lab.free_disk("n1")
        assert shell(n1, f"{fill} && rm disk/x") == 0
        assert lab.remove_wal("n1") >= 1
        assert (
            subprocess.run(
                [n1.host_shell, rewind], stdin=subprocess.DEVNULL, capture_output=True, check=False
            ).returncode
            == 1
        )
        lab.destroy("n1")
        assert not n1.data.exists()


def test_the_command_line_brings_it_up_and_down(tmp_path: Path) -> None:
    """`up` says how to reach the lab and ends with exit code 0, and without a trace, when it is told to."""
    argv = [sys.executable, "-m", "tests.lab", "up"]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as lab:
        assert lab.stdout
        first = lab.stdout.readline()
        root = Path(first.split()[-1])
        assert root.exists()
        lab.send_signal(signal.SIGTERM)
        rest, _ = lab.communicate(timeout=20)
    assert rest.endswith("The lab is gone.\n")
    assert lab.returncode == 0
    assert not root.exists()
    assert os.getpid() not in processes.belonging(root)
