"""An environment file is led to another server, and everything else in it stays."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from blocks.env_file import EnvFile, address_in, pointed
from blocks.errors import Ambiguous, Misconfigured
from blocks.node_control import LocalControl, PatroniControl
from tests.blocks.servers import account

TEXT = "# the shop\nSECRET='a b'\nDATABASE_URL=postgresql://shop:p%40ss@old:5432/orders?sslmode=require\nPORT=80\n"


@pytest.fixture
def env(root):
    """Give a file and a restart command that leaves a trace."""
    path = root / ".env"
    path.write_text(TEXT)
    path.chmod(0o600)
    os.chown(path, account().pw_uid, account().pw_gid)
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
    assert env.points_to() == "old:5432"
    said = env.point_to("new", 6432)
    assert env.points_to() == "new:6432"
    assert "leads to new:6432" in said
    assert (root / "restarts").read_text().count("@new:6432/orders?sslmode=require") == 1
    kept = list(root.glob(".env.salvor-*"))
    assert [k.read_text() for k in kept] == [TEXT]
    assert kept[0].stat().st_mode & 0o777 == 0o600


def test_an_application_that_is_led_there_already_is_not_restarted(env, root):
    """Doing it twice is doing it once."""
    env.point_to("new", 6432)
    assert "already led" in env.point_to("new", 6432)
    assert (root / "restarts").read_text().count("\n") == 1


def test_it_can_be_undone(env, root):
    """The newest kept copy comes back, and the application is told."""
    env.point_to("new", 6432)
    env.undo()
    assert (root / ".env").read_text() == TEXT
    assert (root / "restarts").read_text().splitlines()[-1].count("@old:5432") == 1


def test_an_undo_of_nothing_is_refused(env):
    """Without a kept copy there is nothing to put back."""
    with pytest.raises(Misconfigured, match="no kept copy"):
        env.undo()


def test_a_restart_that_fails_says_that_the_file_is_written(env):
    """The operator knows what is done and what is left."""
    env.restart_command = "echo no such unit >&2; exit 4"
    with pytest.raises(Ambiguous, match=r"was written, but.*no such unit.*by hand"):
        env.point_to("new", 6432)
    assert env.points_to() == "new:6432"


def test_patroni_writes_no_files():
    """A control that runs no scripts is refused in the form."""
    with pytest.raises(ValidationError, match="cannot write this file"):
        EnvFile(path="/srv/.env", control=PatroniControl(url="http://db1:8008"))
