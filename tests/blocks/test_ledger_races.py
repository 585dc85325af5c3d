"""Several real processes at once: exactly one wins, nothing is lost, nothing is locked."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import func, select

from blocks.ledger import gate, outbox, runs
from blocks.ledger.records import Ending
from blocks.ledger.schema import metadata, steps
from blocks.ledger.schema import outbox as parcels
from blocks.ledger.schema import runs as run_table
from tests.blocks import racers
from tests.blocks.racers import race
from tests.ledgers import RESOURCE, claimed, intent, lease, new_run, silence


def test_exactly_one_of_eight_processes_gets_the_lease(ledger):
    """Eight alerts at once, eight processes: one goes on, seven have nothing to do."""
    for turn in range(3):
        said = race(racers.claim, ledger, 8, turn)

        assert Counter(said)["NothingToDo"] == 7
        winner = lease(ledger).run_id
        assert [s for s in said if s != "NothingToDo"] == [f"token {lease(ledger).token}"]
        assert runs.close(ledger, winner, Ending(outcome="Refused", why=""))


def test_each_event_is_announced_by_exactly_one_sentinel(ledger):
    """Six sentinels see thirty events; each event has one announcer."""
    said = race(racers.event, ledger, 6)

    assert [sum(won) for won in zip(*said, strict=True)] == [1] * 30


def test_a_parcel_is_taken_up_by_one_process_only(ledger):
    """Five sweeps side by side send nothing twice and forget nothing."""
    for number in range(60):
        outbox.put(ledger, "notification", f"n{number}", {})
    said = race(racers.parcels, ledger, 5)

    taken = Counter(key for keys in said for key in keys)
    assert taken == Counter(f"n{number}" for number in range(60))


def test_a_dead_run_is_swept_by_one_process_only(ledger):
    """Five sweeps side by side: each dead run is declared dead once, and one successor of each is asked for."""
    dead = []
    for number in range(12):
        run = new_run(ledger)
        gate.claim(ledger, run.id, intent(resource=f"recovery.fake.{number}"))
        dead.append(run.id)
    for run_id in dead:
        silence(ledger, run_id)
    said = race(racers.sweep, ledger, 5)

    assert Counter(run_id for ids in said for run_id in ids) == Counter(dead)
    assert Counter(parcel.key for parcel in outbox.undelivered(ledger)) == Counter(dead)
    assert {lease(ledger, f"recovery.fake.{number}").token for number in range(12)} == {2}


def test_many_writers_are_never_locked_out(ledger):
    """Eight processes write as fast as they can; every write arrives."""
    assert race(racers.write, ledger, 8) == [60] * 8
    with ledger.read() as connection:
        assert connection.execute(select(func.count()).select_from(parcels)).scalar_one() == 480


def test_several_processes_may_create_the_tables_at_once(ledger):
    """`make up` on two machines at once ends with one set of tables."""
    with ledger.begin() as connection:
        metadata.drop_all(connection)
        connection.exec_driver_sql("DROP TABLE alembic_version")

    assert race(racers.upgrade, ledger, 5) == [True] * 5
    claimed(ledger)


def test_no_act_of_an_older_holder_is_ever_begun_after_one_of_a_newer(ledger):
    """A storm of runs that end, die, or are declared dead while they act: tokens of begun acts never go back."""
    said = Counter(each for one in race(racers.live, ledger, 6, 4.0) for each in one)

    with ledger.read() as connection:
        rows = connection.execute(select(steps.c.name).order_by(steps.c.started_at)).scalars().all()
        owners = connection.execute(select(run_table.c.token).where(run_table.c.token.is_not(None))).scalars().all()
    assert list(rows) == sorted(rows)
    assert len(owners) == len(set(owners))
    assert min(said["recovered"], said["lost"] + said["declared dead"]) > 0, said
    assert lease(ledger, RESOURCE).token >= max(owners)
