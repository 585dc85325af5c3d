"""The ledger as a place: its address, its tables, its transactions, and what it says when it cannot be used."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta, timezone
from threading import Thread

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr, ValidationError
from sqlalchemy import inspect, select

from blocks.errors import Misconfigured, Transient
from blocks.ledger import block, claims, runs
from blocks.ledger.__main__ import main
from blocks.ledger.block import Ledger
from blocks.ledger.migrate import settings
from blocks.ledger.schema import claims as claim_table
from blocks.ledger.schema import metadata
from blocks.ledger.schema import runs as run_table
from tests.ledgers import new_run, postgres_ledger, sql, sqlite_ledger


@pytest.mark.parametrize("url", ["mysql://root@db/salvor", "not a url", "postgres//x", ""])
def test_a_url_of_another_kind_is_refused(url):
    """The form says which two kinds there are."""
    with pytest.raises(ValidationError, match="must begin with sqlite:/// or postgresql://"):
        Ledger(url=SecretStr(url))


def test_the_address_is_a_secret():
    """Neither a log line nor the UI shows the password."""
    ledger = Ledger(url=SecretStr("postgresql://salvor:hunter2@db/salvor"))
    assert "hunter2" not in f"{ledger!r} {ledger} {ledger.model_dump_json()}"


def test_a_ledger_in_memory_is_refused():
    """Several processes share it."""
    with pytest.raises(Misconfigured, match="needs a file"), Ledger(url=SecretStr("sqlite://")).begin():
        pass


def test_missing_tables_name_the_command(tmp_path):
    """A ledger that nobody upgraded says how to."""
    ledger = Ledger(url=SecretStr(f"sqlite:///{tmp_path}/new/ledger.db"))
    with pytest.raises(Misconfigured, match=r"python -m blocks\.ledger upgrade"):
        new_run(ledger)


def test_missing_tables_name_the_command_on_postgresql_too(ledger_server):
    """The same sentence, from another driver."""
    ledger = Ledger(url=SecretStr(f"{ledger_server}postgres"))
    with pytest.raises(Misconfigured, match=r"python -m blocks\.ledger upgrade"):
        new_run(ledger)


def test_a_server_that_is_down_is_transient():
    """Nothing was written, so asking again is safe."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"postgresql://salvor@127.0.0.1:{closed.getsockname()[1]}/salvor"
        with pytest.raises(Transient, match="did not answer"), Ledger(url=SecretStr(url)).begin():
            pass


@pytest.mark.parametrize(("place", "said"), [("nowhere", "does not exist"), ("postgres?sslmode=require", "SSL")])
def test_a_wrong_address_is_said(ledger_server, place, said):
    """A database that is not there, or a server without TLS, is named in the sentence."""
    ledger = Ledger(url=SecretStr(f"{ledger_server}{place}"))
    with pytest.raises((Misconfigured, Transient), match=said), ledger.begin():
        pass


def test_a_missing_permission_is_not_taken_for_a_missing_table(ledger_server):
    """Each has its own remedy."""
    sql(ledger_server, "DROP ROLE IF EXISTS stranger")
    sql(ledger_server, "CREATE ROLE stranger LOGIN")
    with postgres_ledger(ledger_server) as ledger:
        url = ledger.url.get_secret_value().replace("salvor@", "stranger@")
        stranger = Ledger(url=SecretStr(url))
        with pytest.raises(Misconfigured, match=r"cannot be used .permission denied"):
            new_run(stranger)
        stranger.engine.dispose()


def test_a_directory_that_cannot_be_written_is_misconfigured(tmp_path):
    """The block's address is wrong, and asking again will not help."""
    (tmp_path / "file").touch()
    (tmp_path / "ledger.db").mkdir()
    ledger = Ledger(url=SecretStr(f"sqlite:///{tmp_path}/ledger.db"))
    with pytest.raises(Misconfigured, match="cannot be used"), ledger.begin():
        pass


def test_the_migrations_make_exactly_the_tables_of_the_schema(ledger):
    """A column that was added to the schema and forgotten in a migration fails here."""
    with ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    assert differences == []


def test_an_upgrade_of_an_upgraded_ledger_changes_nothing(ledger):
    """`make up` may run it every time."""
    run = new_run(ledger)
    ledger.upgrade()
    assert runs.find(ledger, run.id) == run


def test_the_migrations_can_be_taken_back(ledger):
    """Down to nothing, and up again."""
    with ledger.begin() as connection:
        command.downgrade(settings(connection), "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
    ledger.upgrade()
    new_run(ledger)


def test_the_command_upgrades_a_url(tmp_path, capsys):
    """The command that the sentences name works."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    assert main(["upgrade", url]) == 0
    assert "up to date" in capsys.readouterr().out
    new_run(Ledger(url=SecretStr(url)))


@pytest.mark.parametrize("arguments", [[], ["downgrade"], ["upgrade", "a", "b"]])
def test_the_command_says_how_it_is_used(arguments, capsys):
    """Anything else prints the usage and changes nothing."""
    assert main(arguments) == 2
    assert "usage: python -m blocks.ledger upgrade [URL]" in capsys.readouterr().err


def test_the_command_says_what_is_wrong_with_the_address(capsys):
    """A sentence, not a traceback."""
    assert main(["upgrade", "mysql://x"]) == 1
    assert "must begin with" in capsys.readouterr().err


def test_a_moment_comes_back_as_the_same_moment_in_utc(ledger):
    """Whatever zone it was given in, on both databases."""
    moment = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    run = new_run(ledger)
    with ledger.begin() as connection:
        connection.execute(run_table.update().values(started_at=moment))
    assert runs.find(ledger, run.id).started_at == moment
    assert runs.find(ledger, run.id).started_at.tzinfo == UTC


def test_moments_are_compared_as_moments(ledger):
    """Across a change of zone, the later one is later."""
    run = new_run(ledger)
    early = datetime(2026, 1, 1, 23, 30, tzinfo=timezone(timedelta(hours=-8)))
    with ledger.begin() as connection:
        connection.execute(run_table.update().values(started_at=early))
        later = run_table.c.started_at > datetime(2026, 1, 2, 7, 0, tzinfo=UTC)
        assert connection.execute(select(run_table.c.id).where(later)).scalar_one() == run.id


def test_a_transaction_that_fails_leaves_nothing(ledger):
    """All of it or none of it."""

    def work(connection):
        connection.execute(claim_table.insert().values(key="k", by="me", at=datetime.now(UTC)))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.write(work)
    assert claims.claim_event(ledger, "k", "you")


def test_readers_do_not_wait_for_a_writer(ledger):
    """Metrics are read in the middle of somebody's transaction."""
    new_run(ledger)
    seen = []
    with ledger.begin() as connection:
        connection.execute(run_table.update().values(why="not yet committed"))
        reader = Thread(target=lambda: seen.append(runs.history(ledger)[0].why))
        reader.start()
        reader.join(timeout=5)
    assert seen == [""]


def test_a_broken_connection_is_replaced(ledger_server, ledger):
    """A ledger whose server dropped the connections is used again without a word."""
    run = new_run(ledger)
    if ledger.engine.dialect.name == "postgresql":
        name = ledger.engine.url.database
        sql(ledger_server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    assert runs.renew(ledger, run.id)


def test_work_is_repeated_when_the_connection_breaks_in_it(ledger):
    """The answer of a commit may be lost; what is written is safe to write again."""
    tries = []

    def work(connection):
        tries.append(1)
        if len(tries) < 3:
            raise Transient
        return connection.execute(select(run_table.c.id)).all()

    assert ledger.write(work) == []
    assert len(tries) == 3


def test_a_forked_child_does_not_use_its_parents_connections(ledger):
    """The responder forks: a shared socket would mix two conversations."""
    run = new_run(ledger)
    parent = ledger.engine
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if ledger.engine is not parent and runs.renew(ledger, run.id) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert runs.renew(ledger, run.id)


def test_promises_to_others_survive_a_power_cut_and_steps_need_not(tmp_path):
    """In SQLite a claim, an alert or an end is synced to disk; a heartbeat or a step is not worth the wait."""
    ledger = sqlite_ledger(tmp_path)
    for durable, level in [(True, 2), (False, 1), (True, 2)]:
        with ledger.begin(durable=durable) as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == level
    with ledger.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    assert block.BUSY_SECONDS == 10
