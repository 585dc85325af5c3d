"""What can be done to a server from its host: stopped, proven gone, started, and never as a second primary."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from blocks.errors import Ambiguous, Misconfigured, Transient
from blocks.node_control import PatroniControl
from blocks.postgres_node import ScriptFailed
from blocks.postgres_session import ask_all
from tests.blocks.servers import PASSWORD, account, bin_directory, dropping, run, server


def test_the_processes_are_those_that_stand_in_the_data_directory(own_db):
    """The list is that of the kernel, not of postmaster.pid."""
    assert sorted(own_db.node.processes()) == sorted(own_db.pids()) != []


@pytest.mark.parametrize(("mode", "state"), [("fast", "shut down"), ("immediate", "in production"),
                                             ("kill", "in production")])  # fmt: skip
def test_a_stop_is_proven_by_the_last_process_being_gone(own_db, mode, state):
    """Each way to stop ends with `gone`, and only the orderly one leaves a clean directory."""
    said = own_db.node.stop(mode)
    assert own_db.pids() == []
    assert said.splitlines()[-1] == "gone"
    assert own_db.node.control_data()["Database cluster state"] == state


def test_a_stop_of_a_stopped_server_finds_its_work_done(own_db):
    """Stopping twice is stopping once."""
    own_db.node.stop("fast")
    assert own_db.node.stop("kill") == "gone"


def test_kill_says_which_processes_it_killed(own_db):
    """The proof names every pid."""
    before = own_db.pids()
    killed = {int(pid) for pid in own_db.node.stop("kill").splitlines()[0].removeprefix("killed").split()}
    assert killed == set(before)


def test_kill_reaches_the_orphans_of_a_dead_postmaster(own_db):
    """A dead postmaster's backends go on acknowledging until they are killed."""
    conn = threading.Thread(target=ask_all, args=({"n1": (own_db.conninfo, "SELECT pg_sleep(20)")}, 20))
    conn.start()
    time.sleep(0.3)
    postmaster = int((own_db.data / "postmaster.pid").read_text().split()[0])
    others = [pid for pid in own_db.pids() if pid != postmaster]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)  # so that they cannot notice and leave by themselves
    os.kill(postmaster, signal.SIGKILL)
    time.sleep(0.1)
    with pytest.raises(ScriptFailed, match="no postmaster: kill them"):
        own_db.node.stop("fast")
    assert "gone" in own_db.node.stop("kill")
    assert own_db.pids() == []
    conn.join()


def test_kill_works_on_frozen_processes(own_db):
    """A stopped host's processes can still be killed when the host is reached."""
    for pid in own_db.pids():
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(Ambiguous, match="did not within"):
        own_db.node.stop("fast", 0.3)
    own_db.node.stop("kill")
    assert own_db.pids() == []


def test_kill_touches_nothing_but_this_server(own_db, root):
    """Another server, and another program that stands in the same directory, live on."""
    bystander = subprocess.Popen(["sleep", "60"], cwd=own_db.data, **dropping())
    try:
        with server(root, "n2") as other:
            own_db.node.stop("kill")
            assert bystander.poll() is None
            assert other.pids() == other.node.processes() != []
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("bad", ["/nowhere/at/all", "//"])
def test_nothing_is_killed_where_there_is_no_data_directory(own_db, bad):
    """A wrong data directory is said, never matched."""
    node = own_db.node.model_copy(update={"data_directory": bad})
    with pytest.raises(ScriptFailed, match="no data directory"):
        node.stop("kill")
    assert own_db.pids()


def test_a_data_directory_may_be_a_link_with_blanks_and_quotes(root):
    """The kernel knows the directory by its real name, and the shell must not take the name apart."""
    with server(root, started=False) as it:
        real = root / "it's $HOME * data"
        it.data.rename(real)
        it.data.symlink_to(real)
        it.node.start()
        try:
            assert it.node.processes()
        finally:
            it.node.stop("kill")
        assert it.node.processes() == []


def test_a_fence_leaves_a_standby_signal(own_db):
    """Whatever starts the fenced server again, an init system for one, starts no primary."""
    own_db.node.stop("kill", as_standby=True)
    assert own_db.node.has_standby_signal()
    own_db.node.start()
    assert own_db.sql("SELECT pg_is_in_recovery()") == [(True,)]


def test_no_standby_is_started_without_its_signal(own_db):
    """An old primary without standby.signal would be a second primary."""
    own_db.node.stop("fast")
    with pytest.raises(ScriptFailed, match=r"no standby\.signal"):
        own_db.node.start(as_standby=True)
    assert own_db.pids() == []
    own_db.node.write_standby_signal()
    assert own_db.node.start(as_standby=True)
    own_db.node.stop("fast")
    own_db.node.remove_standby_signal()
    assert not own_db.node.has_standby_signal()


def test_a_start_that_fails_says_what_the_log_says(own_db):
    """The reason is in the sentence, not in a file on another host."""
    own_db.node.stop("fast")
    own_db.node.write_settings({"port": "no-port"})
    with pytest.raises(ScriptFailed, match=r"could not be started.*(port|configuration)"):
        own_db.node.start()


def test_a_server_is_not_started_twice(own_db):
    """A second start says that the first one lives."""
    with pytest.raises(ScriptFailed, match="already running"):
        own_db.node.start()


def test_a_start_command_of_the_host_is_used(own_db):
    """Where an init system owns the server, it starts it."""
    own_db.node.stop("fast")
    command = f"{bin_directory()}/pg_ctl -D '{own_db.data}' -w start; touch '{own_db.data}.told'"
    node = own_db.node.model_copy(update={"start_command": command})
    assert node.start()
    assert Path(f"{own_db.data}.told").exists()


def test_a_dead_postmaster_that_nobody_reaped_does_not_hold_its_directory(root):
    """PostgreSQL takes a zombie's pid for a running server and refuses to start."""
    with server(root, started=False) as it:
        child = subprocess.Popen([bin_directory() / "postgres", "-D", it.data], stderr=subprocess.DEVNULL, **dropping())
        for _ in range(200):
            if ask_all({"n1": (it.conninfo, "SELECT 1")}, 1)["n1"].ok:
                break
            time.sleep(0.02)
        it.node.stop("kill")  # the child is a zombie now, for this process does not wait for it
        assert int((it.data / "postmaster.pid").read_text().split()[0]) == child.pid
        assert it.node.start()
        child.wait()


def test_settings_of_a_stopped_server_are_replaced_not_piled_up(own_db):
    """postgresql.auto.conf keeps what is not ours, has each name once, and values arrive as they are."""
    own_db.sql("ALTER SYSTEM SET work_mem = '7MB'")
    own_db.node.stop("fast")
    own_db.node.write_settings({"cluster_name": "first"})
    own_db.node.write_settings({"cluster_name": "it's a \\ 'name'", "work_mem": "9MB"})
    own_db.node.start()
    names = "('cluster_name', 'work_mem')"
    assert own_db.sql(f"SELECT setting FROM pg_settings WHERE name IN {names} ORDER BY name") == [
        ("it's a \\ 'name'",), ("9216",)]  # fmt: skip
    text = (own_db.data / "postgresql.auto.conf").read_text()
    assert text.count("cluster_name") == text.count("work_mem") == 1
    assert (own_db.data / "postgresql.auto.conf").stat().st_mode & 0o077 == 0


def test_settings_are_refused_while_a_server_runs(own_db):
    """A running server's own writes would be lost, or ours."""
    with pytest.raises(ScriptFailed, match="ALTER SYSTEM"):
        own_db.node.write_settings({"work_mem": "8MB"})


@pytest.mark.parametrize(("name", "value"), [("work_mem = 1\nx", "1"), ("work_mem", "1'\nfsync = 'off"), ("a;b", "1")])
def test_a_setting_cannot_smuggle_in_another(own_db, name, value):
    """A name or a value with a line break is refused before anything is sent."""
    with pytest.raises(ScriptFailed, match="setting"):
        own_db.node.write_settings({name: value})


def test_sizes_are_whole_bytes(own_db):
    """Free and used space are numbers that can be compared."""
    assert own_db.node.used_bytes() > 10_000_000
    assert own_db.node.free_bytes() > 0
    assert own_db.node.free_bytes(f"{own_db.data}/not/yet/there") > 0


def test_a_directory_is_renamed_only_when_nothing_runs_there_and_nothing_is_overwritten(own_db):
    """The old directory is kept under the new name."""
    to = f"{own_db.data}.kept"
    with pytest.raises(ScriptFailed, match="still running"):
        own_db.node.rename_directory(to)
    own_db.node.stop("fast")
    Path(to).mkdir()
    with pytest.raises(ScriptFailed, match="already there"):
        own_db.node.rename_directory(to)
    Path(to).rmdir()
    own_db.node.rename_directory(to)
    assert Path(to, "PG_VERSION").exists()
    assert not own_db.data.exists()
    own_db.node.rename_directory(str(own_db.data), path=to)
    assert own_db.data.exists()


def test_a_power_fence_is_proven_by_its_confirm_command(own_db, tmp_path):
    """The fence command's own success is no proof; the confirm command's words are."""
    flag = tmp_path / "off"
    commands = {
        "fence_command": f"( sleep 0.3; echo $SALVOR_NODE $SALVOR_HOST > {flag} ) >/dev/null 2>&1 &",
        "fence_confirm_command": f"cat {flag}",
    }
    assert own_db.node.model_copy(update=commands).fence_power(10) == "n1 127.0.0.1"


def test_a_power_fence_that_is_not_confirmed_is_ambiguous(own_db):
    """A host that was told to go off and did not say so may be on or off."""
    unconfirmed = own_db.node.model_copy(update={"fence_command": "true", "fence_confirm_command": "false"})
    with pytest.raises(Ambiguous, match="not confirmed"):
        unconfirmed.fence_power(0.5)
    failing = own_db.node.model_copy(update={"fence_command": "echo no route >&2; exit 3"})
    with pytest.raises(Ambiguous, match=r"no route.*on or off"):
        failing.fence_power(5)
    with pytest.raises(Transient, match="no fence_command"):
        own_db.node.fence_power(1)


def test_a_node_of_patroni_is_left_to_patroni(own_db):
    """No script runs behind Patroni's back."""
    node = own_db.node.model_copy(update={"control": PatroniControl(url="http://127.0.0.1:8008")})
    with pytest.raises(Misconfigured, match="owns this node"):
        node.stop("kill")
    assert own_db.pids()


def test_no_secret_is_seen_in_the_list_of_processes(own_db, root):
    """The password reaches pg_basebackup by its environment, never by a command line."""
    tools = root / "bin"
    tools.mkdir()
    spy = "#!/bin/sh\ncat /proc/[0-9]*/cmdline | tr '\\0' ' ' > {0}; env > {0}.env; echo \"$@\" > {0}.args; exit 9\n"
    (tools / "pg_basebackup").write_text(spy.format(root / "seen"))
    (tools / "pg_basebackup").chmod(0o755)
    node = own_db.node.model_copy(update={"bin_directory": str(tools)})
    with pytest.raises(ScriptFailed):
        node.basebackup(own_db.cluster.copy_conninfo("n1"), str(root / "copy"), 10)
    assert f"PGPASSWORD={PASSWORD}" in Path(f"{root}/seen.env").read_text()
    assert "host=127.0.0.1" in Path(f"{root}/seen.args").read_text()
    assert PASSWORD not in Path(f"{root}/seen").read_text()
    assert PASSWORD not in Path(f"{root}/seen.args").read_text()


def test_a_script_runs_as_the_databases_user(own_db):
    """Root drops its privileges before anything is done."""
    assert own_db.node.control.run("id -un", 5).out.strip() == account().pw_name
    assert shutil.which("sh")
    assert run("id", "-un").strip() == account().pw_name
