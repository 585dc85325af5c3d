"""The heartbeat goes on for as long as the body lives, and not a beat longer."""

from __future__ import annotations

import time
from threading import Event, Thread

from blocks.ledger import orphans, runs
from blocks.ledger.records import Ending
from tasks.heartbeat import Heartbeat
from tests.ledgers import new_run, silence


def beating(ledger, run_id):
    it = Heartbeat(ledger, run_id)
    it.start()
    return it


def over(heartbeat):
    heartbeat.join(timeout=10)
    return not heartbeat.is_alive()


def test_it_ends_when_it_is_told_to(book):
    """And is gone when stop() returns."""
    it = beating(book, new_run(book).id)
    it.stop()
    assert not it.is_alive()


def test_it_ends_when_the_body_is_dead(book):
    """A thread that vanished without a word must not be kept alive by its own heartbeat."""
    quick, born, go = book.model_copy(update={"lease_seconds": 0.3}), [], Event()

    def body():
        born.append(beating(quick, new_run(quick).id))
        go.wait()

    thread = Thread(target=body)
    thread.start()
    while not born:
        time.sleep(0.01)
    time.sleep(0.3)
    assert born[0].is_alive()
    go.set()
    thread.join()

    assert over(born[0])
    time.sleep(0.4)
    assert len(orphans.expired(quick)) == 1


def test_it_ends_when_the_run_was_declared_dead(book):
    """It must not bring a swept run back."""
    quick = book.model_copy(update={"lease_seconds": 0.3})
    run = new_run(quick)
    silence(quick, run.id)
    orphans.sweep(quick)

    assert over(beating(quick, run.id))


def test_it_ends_when_the_run_has_ended(book):
    """The last beat finds the end in the ledger."""
    quick = book.model_copy(update={"lease_seconds": 0.3})
    run = new_run(quick)
    runs.close(quick, run.id, Ending(outcome="Recovered", why=""))

    assert over(beating(quick, run.id))


def test_it_goes_on_after_a_ledger_that_did_not_answer(book, tmp_path):
    """One missed beat is not the end; the next one counts."""
    quick = book.model_copy(update={"lease_seconds": 0.3})
    run = new_run(quick)
    with quick.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE runs RENAME TO away")
    it = beating(quick, run.id)
    time.sleep(0.3)
    assert it.is_alive()
    with quick.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO runs")
    time.sleep(0.4)

    assert orphans.expired(quick) == []
    it.stop()
