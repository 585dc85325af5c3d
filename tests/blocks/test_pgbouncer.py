"""A real PgBouncer is paused, led to another server, and let go on."""

from __future__ import annotations

import os
import signal
import threading
import time

import psycopg
import pytest

from blocks.errors import Ambiguous, Misconfigured, SalvorError, Transient
from tests.blocks.poolers import pooler
from tests.blocks.servers import PASSWORD, server


@pytest.fixture
def bouncer(db, root):
    """Give a PgBouncer in front of a running server."""
    with pooler(root, db) as it:
        yield it


def test_it_shows_where_every_database_leads(bouncer, db):
    """The rows are typed, and other databases are shown too."""
    assert bouncer.shows() == (f"127.0.0.1:{db.node.port}", False, False)
    assert {row.name for row in bouncer.block.show_databases()} == {"orders", "other", "pgbouncer"}


def test_paused_clients_wait_and_go_on_without_an_error(bouncer):
    """A query during the pause is answered after it."""
    with bouncer.client() as client:
        client.execute("SELECT 1")
        bouncer.block.pause()
        assert bouncer.shows()[1] is True
        assert bouncer.shows("other")[1] is False
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(client.execute("SELECT 2").fetchone()))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        bouncer.block.resume()
        waiting.join(5)
        assert answers == [(2,)]


def test_pausing_and_resuming_twice_is_doing_it_once(bouncer):
    """What is already so is fine."""
    bouncer.block.resume()
    bouncer.block.pause()
    bouncer.block.pause()
    bouncer.block.resume()
    bouncer.block.resume()
    assert bouncer.shows()[1] is False


def test_a_pause_that_is_not_reached_says_so_and_is_undone_by_resume(bouncer):
    """A transaction that does not end keeps the pause waiting; nobody is left waiting for ever."""
    with bouncer.client() as busy, bouncer.client() as other:
        busy.execute("BEGIN")
        busy.execute("SELECT 1")
        with pytest.raises(Ambiguous, match=r"did not finish `PAUSE .orders.` in time"):
            bouncer.block.pause(0.3)
        assert bouncer.shows()[1] is True
        bouncer.block.resume()
        assert bouncer.shows()[1] is False
        assert other.execute("SELECT 1").fetchone() == (1,)
        assert busy.execute("SELECT 2").fetchone() == (2,)
        busy.execute("COMMIT")


def test_clients_follow_a_new_route_without_an_error(bouncer, root):
    """Pause, route, resume: the same client connection talks to the other server."""
    with server(root, "n2") as new, bouncer.client() as client:
        client.execute("SELECT 1")
        bouncer.block.pause()
        said = bouncer.block.route("127.0.0.1", new.node.port)
        bouncer.block.resume()
        assert client.execute("SHOW data_directory").fetchone() == (str(new.data),)
        assert said == f"orders lead to 127.0.0.1:{new.node.port}"
        assert bouncer.shows()[0] == f"127.0.0.1:{new.node.port}"
        assert bouncer.block.route("127.0.0.1", new.node.port).startswith("orders already led")


def test_a_route_touches_only_its_own_databases(bouncer, db):
    """Options of the line and other databases stay."""
    bouncer.block.route("127.0.0.1", 1)
    assert bouncer.routing.read_text() == (
        "orders = host=127.0.0.1 port=1 dbname=postgres pool_size=3\n"
        f"other = host=127.0.0.1 port={db.node.port} dbname=postgres\n"
    )
    assert bouncer.shows("other")[0] == f"127.0.0.1:{db.node.port}"


def test_a_route_reads_the_file_again_when_somebody_changed_it_during_the_pause(bouncer):
    """What was read before the pause may be old; nothing of the other change is lost."""
    bouncer.block.pause()
    bouncer.routing.write_text(f"; a note\n{bouncer.routing.read_text()}")
    bouncer.block.route("127.0.0.1", 1)
    bouncer.block.resume()
    assert bouncer.routing.read_text().startswith("; a note\norders = host=127.0.0.1 port=1 ")


def test_a_file_that_pgbouncer_does_not_read_is_noticed(bouncer, db):
    """The file is written, and PgBouncer itself says that it leads elsewhere."""
    bouncer.routing.with_name("pgbouncer.ini").write_text(
        bouncer.routing.with_name("pgbouncer.ini").read_text().replace(
            f"%include {bouncer.routing}", f"orders = host=127.0.0.1 port={db.node.port} dbname=postgres"))  # fmt: skip
    with pytest.raises(SalvorError, match=rf"orders leads to 127\.0\.0\.1:{db.node.port}: is the file included"):
        bouncer.block.route("127.0.0.1", 1)


def test_a_disabled_database_refuses_new_clients_until_it_is_enabled(bouncer):
    """The route fence, and its undo."""
    bouncer.block.disable()
    assert bouncer.shows()[2] is True
    with pytest.raises(psycopg.OperationalError, match=r"disabled|does not allow"):
        bouncer.client()
    bouncer.block.enable()
    with bouncer.client() as client:
        assert client.execute("SELECT 1").fetchone() == (1,)


def test_kill_frees_a_client_of_a_server_that_hangs(bouncer):
    """A client of a frozen server gets an error at once, and after the resume it may log in again."""
    client = bouncer.client()
    problems = []

    def ask():
        try:
            client.execute("SELECT pg_sleep(20)")
        except psycopg.Error as error:
            problems.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.3)
    bouncer.block.kill()
    asking.join(5)
    assert len(problems) == 1
    bouncer.block.resume()
    bouncer.block.enable()
    with bouncer.client() as again:
        assert again.execute("SELECT 1").fetchone() == (1,)


def test_a_pgbouncer_that_was_restarted_during_the_pause_is_found_again(bouncer):
    """The session that was kept since the pause is gone, and nobody waits any more: resume is content."""
    bouncer.block.pause()
    bouncer.process.kill()
    bouncer.process.wait()
    bouncer.process = bouncer.start()
    try:
        bouncer.block.route("127.0.0.1", 1)
        bouncer.block.resume()
        assert bouncer.shows() == ("127.0.0.1:1", False, False)
    finally:
        bouncer.process.kill()
        bouncer.process.wait()


def test_reconnect_and_reload_are_taken(bouncer):
    """Both are commands of the console that say nothing."""
    bouncer.block.reconnect()
    bouncer.block.reload()


def test_a_pgbouncer_that_is_gone_is_transient(bouncer):
    """Nothing was sent, so asking again is safe; the sentence names the address."""
    bouncer.process.kill()
    bouncer.process.wait()
    for call in (bouncer.block.show_databases, bouncer.block.pause, bouncer.block.reload):
        with pytest.raises(Transient, match=rf"PgBouncer at 127\.0\.0\.1:{bouncer.block.port} is not listening"):
            call()


def test_a_frozen_pgbouncer_does_not_outlast_the_deadline(bouncer):
    """A process that answers nothing is given up."""
    os.kill(bouncer.process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(Transient, match=r"within 0\.3 s: nothing was sent"):
            bouncer.block.resume(0.3)
        assert time.monotonic() - began < 1.9
    finally:
        os.kill(bouncer.process.pid, signal.SIGCONT)


def test_a_wrong_password_is_misconfigured_and_never_quoted(bouncer):
    """The secret is in no sentence and in no representation of the block."""
    wrong = bouncer.block.model_copy(update={"password": type(bouncer.block.password)("wrong-Secret")})
    with pytest.raises(Misconfigured, match="correct user, password") as caught:
        wrong.show_databases()
    assert "wrong-Secret" not in f"{caught.value} {wrong!r}"
    assert PASSWORD not in repr(bouncer.block)


def test_a_database_that_pgbouncer_does_not_know_is_said(bouncer):
    """A name in the block that is wrong is a setting to mend."""
    unknown = bouncer.block.model_copy(update={"databases": ["billing"]})
    with pytest.raises(Misconfigured, match="no such database: billing"):
        unknown.resume()
    with pytest.raises(Misconfigured, match="no line for billing"):
        unknown.route("127.0.0.1", 1)
