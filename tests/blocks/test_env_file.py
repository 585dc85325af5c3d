"""An environment file is led to another server, and everything else in it stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from blocks.database_url import address_in, pointed
from blocks.env_file import EnvFile
from blocks.errors import Ambiguous, Misconfigured
from blocks.host_file import FileChanged, HostFile
from blocks.node_control import LocalControl, PatroniControl
from tests.blocks.killer import STEPPING, dies, killed_at_each_step
from tests.blocks.servers import account

TEXT = "# the shop\nSECRET='a b'\nDATABASE_URL=postgresql://shop:p%40ss@old:5432/orders?sslmode=require\nPORT=80\n"


def own(path: Path, text: str = TEXT) -> Path:
    """Write a file that belongs to the application, and that nobody else may read."""
    path.write_text(text)
    path.chmod(0o600)
    os.chown(path, account().pw_uid, account().pw_gid)
    return path


@pytest.fixture
def env(root):
    """Give a file and a restart command that leaves a trace."""
    path = own(root / ".env")
    return EnvFile(
        path=str(path),
        control=LocalControl(run_as=account().pw_name),
        restart_command=f"grep ^DATABASE_URL {path} >> {root}/restarts",
    )


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("DATABASE_URL=postgresql://u:p@old/db", "DATABASE_URL=postgresql://u:p@new:6432/db"),
        ("  export DATABASE_URL = 'postgres://old:1/db?a=b#c'", "  export DATABASE_URL = 'postgres://new:6432/db?a=b#c'"),
        ('DATABASE_URL="postgresql+psycopg://u:p%40:x@[::1]:5432/db"', 'DATABASE_URL="postgresql+psycopg://u:p%40:x@new:6432/db"'),
        ("DATABASE_URL=postgresql://old/db # note", "DATABASE_URL=postgresql://new:6432/db # note"),
    ],
)  # fmt: skip
def test_only_host_and_port_change(line, wanted):
    """User, password, database, options, quotes and comments stay as they were written."""
    text = f"A=1\nOLD_DATABASE_URL=postgresql://keep/me\n{line}\nDATABASE_URL_2=postgresql://keep/me\n"
    assert pointed(text, "DATABASE_URL", "new", 6432) == text.replace(line, wanted)


def test_an_address_of_version_six_gets_its_brackets():
    """A URL needs them, a host field does not hold them."""
    text = pointed("DATABASE_URL=postgresql://old/db", "DATABASE_URL", "fd00::1", 5432)
    assert text == "DATABASE_URL=postgresql://[fd00::1]:5432/db"
    assert address_in(text, "DATABASE_URL") == "fd00::1:5432"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=1\n", "no line"),
        ("DATABASE_URL=postgresql://a/b\nDATABASE_URL=postgresql://c/d\n", "2 lines"),
        ("DATABASE_URL=mysql://a/b\n", "no postgresql"),
        ("DATABASE_URL=postgresql:///b\n", "no postgresql"),
        ("DATABASE_URL=postgresql://u:hidden@a:port/b\n", "cannot? be understood|can be understood"),
        ("#DATABASE_URL=postgresql://a/b\n", "no line"),
    ],
)
def test_a_file_that_does_not_say_one_thing_is_refused_without_its_secrets(text, problem):
    """What cannot be understood is not rewritten."""
    with pytest.raises(Misconfigured, match=problem) as caught:
        pointed(text, "DATABASE_URL", "new", 1)
    assert "hidden" not in str(caught.value)


def test_the_application_is_led_over_and_restarted(env, root):
    """The new address is in the file before the restart, and the old file is kept."""
    assert env.points_to() == ("old:5432", False)
    said = env.point_to("new", 6432)
    assert env.points_to() == ("new:6432", False)
    assert "leads to new:6432" in said
    assert (root / "restarts").read_text().count("@new:6432/orders?sslmode=require") == 1
    kept = list(root.glob(".env.salvor-*"))
    assert [k.read_text() for k in kept] == [TEXT]
    assert kept[0].stat().st_mode & 0o777 == 0o600


def test_an_application_that_is_led_there_already_is_not_restarted(env, root):
    """Doing it twice is doing it once."""
    env.point_to("new", 6432)
    assert "already led" in env.point_to("new", 6432)
    assert restarts(root) == ["new"]


def test_it_can_be_undone(env, root):
    """The newest kept copy comes back, and the application is told."""
    env.point_to("new", 6432)
    env.undo()
    assert (root / ".env").read_text() == TEXT
    assert restarts(root) == ["new", "old"]


def test_an_undo_of_nothing_is_refused(env):
    """Without a kept copy there is nothing to put back."""
    with pytest.raises(Misconfigured, match="no kept copy"):
        env.undo()


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("echo no such unit in postgresql://shop:p%40ss@old/orders >&2; exit 4", r"failed after .*no such unit"),
        ("sleep 60", r"did not end within 0\.5 s"),
    ],
)
def test_a_restart_that_fails_is_said_and_repeated_by_the_next_run(env, root, trouble, says):
    """The file is written and the application is not led over: the sentence says so, and the next run restarts it."""
    right, env.restart_command, env.restart_deadline_seconds = env.restart_command, trouble, 0.5
    for _ in range(2):
        with pytest.raises(Ambiguous, match=rf"was written, but.*{says}.*run this again") as caught:
            env.point_to("new", 6432)
        assert "p%40ss" not in str(caught.value)
        assert env.points_to() == ("new:6432", True)
    env.restart_command, env.restart_deadline_seconds = right, 30
    assert "still owed" in env.point_to("new", 6432)
    assert env.points_to() == ("new:6432", False)
    assert restarts(root) == ["new"]
    assert "already led" in env.point_to("new", 6432)


def test_a_file_that_cannot_be_replaced_owes_nothing(env, root):
    """A refusal changes nothing: there is no mark of a restart that nothing asks for."""
    with pytest.raises(FileChanged):
        HostFile(env.control, env.path).replace("A=1\n", 5, before="not it", mark=f"{env.path}.salvor-restart-1")
    assert env.points_to() == ("old:5432", False)
    assert [p.name for p in root.iterdir()] == [".env"]


def test_a_rewrite_during_a_restart_is_owed_one_of_its_own(env, root):
    """A restart that was begun before the file was written does not count as the one after it."""
    mark = f"{env.path}.salvor-restart-2"
    env.restart_command = f"touch {mark}"
    env.point_to("new", 6432)
    assert env.points_to() == ("new:6432", True)


@pytest.mark.parametrize("act", [pytest.param("point_to", marks=pytest.mark.long), "undo"])
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(env, root, act):
    """Before each command of each script: no text is torn, no restart is forgotten, and again changes nothing."""
    killed = env.model_copy(update={"control": STEPPING})
    acts = {"point_to": (lambda it: it.point_to("new", 6432), "new:6432"), "undo": (EnvFile.undo, "old:5432")}
    order, wanted = acts[act]
    owed = 0
    for _ in killed_at_each_step(lambda: order(killed), root / "left", lambda: anew(env, root, led=act == "undo")):
        address, restart_owed = env.points_to()
        assert (root / ".env").read_text() in (TEXT, pointed(TEXT, "DATABASE_URL", "new", 6432))
        assert restart_owed or restarts(root)[-1] == address.partition(":")[0]
        assert all("p%40ss" not in mark.read_text() for mark in marks(root))
        owed += restart_owed
        order(env)
        assert env.points_to() == (wanted, False)
        assert (restarts(root)[-1], marks(root)) == (wanted.partition(":")[0], [])
        told = len(restarts(root))
        order(env)
        assert len(restarts(root)) == told
        assert_private(root)
        env.undo()
        assert ((root / ".env").read_text(), restarts(root)[-1]) == (TEXT, "old")
    assert owed > 3, "before and after the file was replaced, before the restart, and after it"


def test_a_run_that_is_killed_by_its_own_restart_is_finished_by_the_next(env, root):
    """The application may have been told or not: it is told again."""
    order = env.model_copy(update={"restart_command": "kill -KILL $SALVOR_PID $PPID", "control": STEPPING})
    (root / "left").write_text("1000\n")
    assert dies(lambda: order.point_to("new", 6432), root / "left")
    assert env.points_to() == ("new:6432", True)
    env.point_to("new", 6432)
    assert (env.points_to(), restarts(root)) == (("new:6432", False), ["new"])


def anew(env: EnvFile, root: Path, *, led: bool) -> None:
    """Put everything back: an application that was started with the old address, then LED to the new one or not."""
    for path in root.iterdir():
        if path.name != ".env":
            path.unlink()
    own(root / ".env")
    own(root / "restarts", TEXT.splitlines()[2] + "\n")
    if led:
        env.point_to("new", 6432)


def restarts(root: Path) -> list[str]:
    """List the hosts with which the application was started."""
    return [address_in(line, "DATABASE_URL").partition(":")[0] for line in (root / "restarts").read_text().splitlines()]


def marks(root: Path) -> list[Path]:
    """List what says that a restart is owed."""
    return list(root.glob(".env.salvor-restart-*"))


def assert_private(root: Path) -> None:
    """The file, its copies, and what a killed script left are read by the owner alone."""
    for path in root.iterdir():
        if "p%40ss" in path.read_text() and path.name != "restarts":
            seen = path.stat()
            assert (seen.st_mode & 0o777, seen.st_uid) == (0o600, account().pw_uid), path


def test_patroni_writes_no_files():
    """A control that runs no scripts is refused in the form."""
    with pytest.raises(ValidationError, match="cannot write this file"):
        EnvFile(path="/srv/.env", control=PatroniControl(url="http://db1:8008"))
