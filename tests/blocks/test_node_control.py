"""Reaching a host: what ran, what did not, and what nobody knows."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from blocks.errors import Ambiguous, Misconfigured, Transient
from blocks.node_control import CommandControl, LocalControl, PatroniControl, SshControl
from tests.blocks.servers import account, dropping, free_port, run, scratch

HERE = LocalControl()
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def test_a_script_gives_its_code_its_words_and_its_complaint():
    """All three come back as they were, and the marker of its beginning does not."""
    done = HERE.run("echo out; echo err >&2; exit 7", 5)
    assert (done.rc, done.out, done.err, done.said) == (7, "out\n", "err\n", "err")


def test_a_script_is_fed_by_standard_input():
    """What is secret or long does not go through the list of processes."""
    assert HERE.run("cat", 5, stdin="süß\n").out == "süß\n"


def test_a_reading_script_past_its_deadline_is_transient_and_a_writing_one_ambiguous():
    """Only what changes nothing may be repeated."""
    with pytest.raises(Transient, match=r"within 0\.2 s. Nothing was changed"):
        HERE.run("sleep 9", 0.2)
    with pytest.raises(Ambiguous, match="may have happened"):
        HERE.run("sleep 9", 0.2, writes=True)


def test_a_script_past_its_deadline_is_killed_with_all_it_started(tmp_path):
    """Nothing of it goes on in the background."""
    with pytest.raises(Transient):
        HERE.run(f"(sleep 0.6; touch {tmp_path}/late) & sleep 9", 0.3)
    time.sleep(0.6)
    assert not (tmp_path / "late").exists()


def test_a_user_that_is_not_there_is_said():
    """A typo in run_as is a setting to mend."""
    with pytest.raises(Misconfigured, match="no user `nosuchuser`"):
        LocalControl(run_as="nosuchuser").run("true", 5)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_the_databases_user_with_its_own_groups_only():
    """No group of root's remains."""
    done = LocalControl(run_as=account().pw_name).run("id -u; id -G", 5)
    user, groups = done.out.splitlines()
    assert int(user) == account().pw_uid
    assert "0" not in groups.split()


def test_a_template_gets_the_script_as_one_word(tmp_path):
    """Quotes, blanks and dollars arrive at the other end as they were written."""
    agent = tmp_path / "agent"
    agent.write_text('#!/bin/sh\n[ $# = 2 ] || exit 99\nexec sh -c "$2"\n')
    agent.chmod(0o755)
    control = CommandControl(template=f"{agent} run {{script}}")
    done = control.run("x='a  b'; echo \"$x\" 'it'\\''s' $((6*7)); cat", 5, stdin="fed")
    assert (done.rc, done.out) == (0, "a  b it's 42\nfed")


def test_a_host_that_was_not_reached_was_not_changed():
    """An exit code of the way there is told from one of the script."""
    control = CommandControl(template="echo no route to host >&2; exit 255; : {script}")
    with pytest.raises(Transient, match="nothing was done there: no route to host"):
        control.run("true", 5, writes=True)


def test_a_connection_lost_on_the_way_is_ambiguous_for_a_write():
    """The script had begun, so it may have ended."""
    control = CommandControl(template="sh -c {script}; echo connection closed >&2; exit 255")
    with pytest.raises(Ambiguous, match=r"connection closed.*may have happened"):
        control.run("true", 5, writes=True)
    with pytest.raises(Transient, match="Nothing was changed"):
        control.run("true", 5)


def test_a_command_that_is_not_there_is_misconfigured():
    """A missing program does not come back by waiting."""
    with pytest.raises(Misconfigured, match="cannot run a script"):
        CommandControl(template="/nowhere/kubectl {script}").run("true", 5)


@pytest.mark.parametrize("template", ["docker exec db1 sh -c", "{script} {script}", ""])
def test_a_template_without_exactly_one_place_is_refused(template):
    """The form says where the script goes."""
    with pytest.raises(ValidationError, match="exactly once"):
        CommandControl(template=template)


@pytest.mark.parametrize("destination", ["-oProxyCommand=touch /tmp/x", "", "db1 db2"])
def test_a_destination_that_ssh_would_take_for_an_option_is_refused(destination):
    """A field of the form must not become a command."""
    with pytest.raises(ValidationError, match="not a destination"):
        SshControl(destination=destination)


@pytest.mark.parametrize(
    "url", ["db1:8008", "ftp://db1", "http://", "http://a b:1", "http://u:p@db1:8008", "http://db1:0"]
)
def test_a_url_that_is_none_is_refused_with_the_reason(url):
    """Http or https and a host, and no secret in it."""
    with pytest.raises(ValidationError, match=r"http|host|port|user|URL"):
        PatroniControl(url=url)


@contextmanager
def fake_ssh(monkeypatch, folder: Path, body: str):
    (folder / "ssh").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/argv\n{body}\n')
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    yield lambda: (folder / "argv").read_text().splitlines()


def test_ssh_asks_nothing_and_gives_up_before_the_deadline(monkeypatch, tmp_path):
    """BatchMode, a connect time-out below the deadline, the user's options first, and one word of script."""
    control = SshControl(
        destination="postgres@db1", port=2222, identity_file="/k", options=["StrictHostKeyChecking=yes"]
    )
    with fake_ssh(monkeypatch, tmp_path, 'for last; do :; done; exec sh -c "$last"') as argv:
        done = control.run("echo 'it works'; cat", 5, stdin="!")
        assert done.out == "it works\n!"
        given = argv()
    assert given[:3] == ["-T", "-o", "StrictHostKeyChecking=yes"]
    assert {"BatchMode=yes", "ConnectTimeout=4", "ServerAliveInterval=1"} <= set(given)
    at = given.index("--")
    assert given[at - 4 : at] == ["-p", "2222", "-i", "/k"]
    assert given[at + 1] == "postgres@db1"


def test_ssh_that_does_not_get_through_is_transient(monkeypatch, tmp_path):
    """255 without a sign of the script is ssh's own failure."""
    body = "echo 'ssh: connect to host db1 port 22: Connection timed out' >&2; exit 255"
    with (
        fake_ssh(monkeypatch, tmp_path, body),
        pytest.raises(Transient, match=r"postgres@db1 was not reached.*Connection timed out"),
    ):
        SshControl(destination="postgres@db1").run("true", 5, writes=True)


@pytest.mark.skipif(not shutil.which("ssh"), reason="no OpenSSH client here")
def test_a_host_that_accepts_and_says_nothing_is_given_up_before_the_deadline():
    """A frozen host's kernel still takes the connection; nothing was sent, so a write to it is no riddle."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        control = SshControl(destination="x@127.0.0.1", port=mute.getsockname()[1])
        with pytest.raises(Transient, match="was not reached"):
            control.run("true", 3, writes=True)


@contextmanager
def real_sshd():
    user = account()
    if SSHD is None or not shutil.which("ssh") or user.pw_shell.endswith(("nologin", "false")):
        pytest.skip("no sshd here, or the database's user may not log in")
    with scratch() as home:
        for key in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / key)
        run("cp", home / "user.pub", home / "authorized")
        port = free_port()
        settings = ["UsePAM no", "StrictModes no", "PidFile none", f"HostKey {home}/host", f"Port {port}",
                    f"AuthorizedKeysFile {home}/authorized", "ListenAddress 127.0.0.1"]  # fmt: skip
        run("sh", "-c", 'printf "%s\\n" "$@" > "$0"', home / "config", *settings)
        argv = [SSHD, "-D", "-e", "-f", str(home / "config")]
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL, cwd="/", **dropping()) as daemon:
            shutil.copy(home / "user", mine := home.parent / "key")
            mine.chmod(0o600)
            options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={home.parent}/known", "IdentitiesOnly=yes"]
            try:
                yield SshControl(destination=f"{user.pw_name}@127.0.0.1", port=port, identity_file=str(mine),
                                 options=options), daemon  # fmt: skip
            finally:
                daemon.kill()


def test_a_real_ssh_runs_the_script_as_the_databases_user():
    """Quoting, standard input and the exit code survive the way there and back."""
    with real_sshd() as (control, daemon):
        for _ in range(100):
            try:
                done = control.run('id -un; x=\'a  "b"\'; echo "$x"; cat; exit 5', 10, stdin="fed\n")
                break
            except Transient:
                assert daemon.poll() is None
                time.sleep(0.05)
        assert (done.rc, done.out.splitlines()) == (5, [account().pw_name, 'a  "b"', "fed"])
        daemon.kill()
        daemon.wait()
        with pytest.raises(Transient, match="refused"):
            control.run("true", 3, writes=True)
