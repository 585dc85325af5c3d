"""A cluster that Patroni manages is conducted: Patroni is asked, and nothing is done behind its back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from blocks.postgres import PostgresCluster
from flows.triggers.plane.plane import Plane
from tasks.model import Outcome
from tests.drills.patroni_lab import PatroniLab, missing
from tests.drills.theatre import PROMOTED
from tests.drills.ward import Ward, speaking_to
from tests.drills.witness import assert_rows_kept
from tests.lab.app import App

pytestmark = [pytest.mark.drill, pytest.mark.skipif(bool(missing()), reason=missing())]
#: What only the manager of a cluster may say to its servers.
CHANGES = re.compile(r" salvor LOG:  statement: .*(pg_promote|ALTER SYSTEM|pg_reload_conf|create_physical)")
PATIENT = {"min_interval_seconds": 0}


@pytest.fixture(scope="module")
def patroni_ward(plane: Plane) -> Iterator[Ward]:
    """A cluster under Patroni that the plane knows by its REST API only."""
    with speaking_to(plane), PatroniLab() as lab, Ward(plane, lab) as ward:
        ward.change_block(**lab.block_fields(PostgresCluster.load(ward.target)))
        yield ward


@pytest.fixture
def ward(patroni_ward: Ward, prefect: None) -> Ward:
    """The same for one test: with three members that are well."""
    lab = patroni_ward.lab
    patroni_ward.until(lambda: len(lab.streaming(lab.primary())) == 2, 60, "the cluster to be whole", 0.2)
    return patroni_ward


def leader_of(ward: Ward) -> str:
    """Say who leads, as every Patroni that answers sees it."""
    (leader,) = {m.name for m in ward.lab.patroni(ward.lab.primary()).cluster(5).members if m.role == "leader"}
    return leader


def assert_conducted(ward: Ward, timelines: int) -> None:
    """The timeline changed so often by Patroni's own account, and no server was told so by us."""
    lab, patroni = ward.lab, ward.lab.patroni(ward.lab.primary())
    assert lab.nodes[lab.primary()].timeline() == timelines + 1
    ward.until(lambda: len(patroni.history(5)) == timelines, 20, "Patroni's history to be written", 0.1)
    logs = [node.log.read_text() for node in lab.nodes.values()]
    assert sum(log.count(PROMOTED) for log in logs) == timelines
    assert [line for log in logs for line in log.splitlines() if CHANGES.search(line)] == []
    assert ward.lab.pooler.admin("SHOW DATABASES")[0]["port"] == str(lab.nodes[leader_of(ward)].port)


def test_a_paused_patroni_is_left_alone(ward: Ward) -> None:
    """It would elect nobody, so both procedures refuse and say how to go on."""
    patroni = ward.lab.patroni("n1")
    patroni.set_pause(True)
    ward.until(lambda: patroni.cluster(5).pause, 20, "Patroni to pause")
    try:
        refused = [ward.run(name, PATIENT) for name in ("postgres-switchover", "postgres-failover")]
    finally:
        patroni.set_pause(False)
        ward.until(lambda: not patroni.cluster(5).pause, 20, "Patroni to go on")
    assert [run.outcome for run in refused] == [Outcome.REFUSED] * 2
    assert all("Patroni is paused" in run.why for run in refused)
    assert_conducted(ward, 0)


def test_a_candidate_that_patroni_refuses_gives_clients_back_at_once(ward: Ward) -> None:
    """Patroni hands over only to the standby that confirms commits (412 for any other): no error, nothing moved."""
    members = ward.lab.patroni("n1").cluster(5).members
    (other,) = [member.name for member in members if member.role == "replica"]
    with App(ward.lab, patience_seconds=30) as app:
        app.await_writes()
        run = ward.run("postgres-switchover", PATIENT | {"candidate": other})
        app.await_writes()
    assert (run.outcome, "412" in run.why) == (Outcome.REFUSED, True), run.why
    assert app.journal().errors == []
    assert_rows_kept(app)
    assert_conducted(ward, 0)


def test_a_switchover_goes_through_patroni_and_no_client_sees_it(ward: Ward) -> None:
    """Clients are held at the pooler while Patroni hands over; not one of them gets an error."""
    with App(ward.lab, patience_seconds=30) as app:
        app.await_writes()
        run = ward.run("postgres-switchover", PATIENT)
        app.await_writes()
    assert run.outcome == Outcome.RECOVERED, run.why
    assert app.journal().errors == []
    assert leader_of(ward) == run.report["plan"]["candidate"] != "n1"
    assert_rows_kept(app)
    assert_conducted(ward, 1)


def test_a_failover_waits_for_patronis_election_and_leads_clients_to_whoever_won(ward: Ward) -> None:
    """The leader's whole machine dies; Patroni elects when its lease has run out, and clients are led there."""
    lost, before = leader_of(ward), ward.lab.nodes[ward.lab.primary()].timeline()
    with App(ward.lab) as app:
        app.await_writes()
        ward.record(lost)
        ward.lab.kill_node(lost)
        run = ward.ended(ward.start("postgres-failover", PATIENT), seconds=120)
        app.await_writes()
    ward.lab.start_patroni(lost)
    assert run.outcome == Outcome.RECOVERED, run.why
    assert leader_of(ward) == run.report["plan"]["candidate"] != lost
    assert run.report["plan"]["mode"] == "managed"
    assert_rows_kept(app)
    assert_conducted(ward, before)
