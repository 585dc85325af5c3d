"""The responder against a real Prefect server; it polls so seldom that what happens here was told by events."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.triggers.plane.plane import Plane
from flows.triggers.plane.supervisor import descendants
from tests.triggers.runs import Server, process, until

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A plane with one responder, which also imports the real procedures."""
    root = Path(tempfile.mkdtemp(prefix="responder-"))
    plane = Plane(
        root,
        parts=("server", "registration", "responder"),
        deployments=[HERE / "sample_deployments.yaml"],
        env={"PREFECT_WORKER_QUERY_SECONDS": "3600"},
    )
    with plane:
        server = Server(plane, root)
        until(lambda: descendants(plane.processes["responder"].pid), "the fork server")
        yield server
    shutil.rmtree(root)


def gone(pid: int) -> bool:
    """Whether there is no such process, not even a zombie."""
    return not Path(f"/proc/{pid}").exists()


def test_an_alert_starts_a_run_at_once(server: Server) -> None:
    """From an event through the automation to the end of the run, with no poll in between."""
    _, notes = server.alert()
    until(lambda: notes.exists() and "colour green" in notes.read_text(), "the run of the alert")


def test_a_claim_is_the_only_step_before_running(server: Server) -> None:
    """Between scheduled and running there is one transition, and the run ends without a tail."""
    run = server.start("quick")
    assert run.end() == "Completed"
    # On a loaded machine the server itself may mark a run as late before anybody has seen it.
    assert [state for state in run.states() if state != "Late"] == ["Scheduled", "Pending", "Running", "Completed"]


def test_output_is_kept(server: Server) -> None:
    """What a run prints is in its log file, and what it logs is in Prefect."""
    run = server.start("quick")
    run.end()
    assert "a word on standard output" in (server.plane.logs / "runs" / f"{run.id}.log").read_text()
    until(lambda: "Finished in state Completed" in server.logged(run), "the log")


def test_the_process_is_noted(server: Server) -> None:
    """The run says on which host and as which process it runs."""
    run = server.start("slow")
    pid = run.pid()
    until(lambda: run.read()["infrastructure_pid"] == f"{socket.gethostname()}:{pid}", "the pid")
    os.kill(pid, signal.SIGKILL)
    run.end()


def test_a_run_of_later_is_not_taken_now(server: Server) -> None:
    """A run that is scheduled for tomorrow stays scheduled."""
    tomorrow = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
    state = {"type": "SCHEDULED", "name": "Scheduled", "state_details": {"scheduled_time": tomorrow}}
    later = server.start("quick", state=state)
    assert server.start("quick").end() == "Completed"
    assert later.states() == ["Scheduled"]


def test_a_cancelled_run_is_ended(server: Server) -> None:
    """Cancelling ends the process, runs the hook, and becomes Cancelled; nothing crashed."""
    run = server.start("slow")
    pid = run.pid()
    run.set("CANCELLING", "Cancelling")
    assert run.end() == "Cancelled"
    assert gone(pid)
    assert run.lines("cancelled") == ["cancelled"]
    assert not run.lines("finished")
    assert not run.lines("crashed")
    assert "Crashed" not in run.states()


@pytest.mark.long
def test_a_run_that_will_not_listen_is_killed(server: Server) -> None:
    """A run that goes on after it was told to end is killed, and becomes Cancelled."""
    run = server.start("deaf")
    pid = run.pid()
    run.set("CANCELLING", "Cancelling")
    assert run.end(90) == "Cancelled"
    assert run.lines("ignored") == ["ignored TerminationSignal"]
    assert gone(pid)


def test_a_run_that_dies_has_crashed(server: Server) -> None:
    """The state names the signal, and the hook of the flow runs."""
    run = server.start("dies")
    assert run.end() == "Crashed"
    assert "SIGKILL" in run.read()["state"]["message"]
    until(lambda: run.lines("crashed"), "the hook")


def test_a_flow_that_cannot_be_imported_has_crashed(server: Server) -> None:
    """The run says so, its log says why, and the responder goes on."""
    server.deploy("quick", "absent", entrypoint="tests.triggers.absent.flow")
    lost = server.start("quick", "absent")
    assert lost.end() == "Crashed"
    assert "tests.triggers.absent" in (server.plane.logs / "runs" / f"{lost.id}.log").read_text()
    assert server.start("quick").end() == "Completed"


@pytest.mark.long
def test_two_responders_run_it_once(server: Server) -> None:
    """Both hear of every run; each is executed exactly once."""
    log = server.plane.logs / "second.log"
    with process(server.plane, log, "flows.triggers.responder", "--pool", "responder"):
        until(lambda: log.exists() and "Connected to the event stream" in log.read_text(), "the second responder")
        runs = [server.start("quick") for _ in range(8)]
        assert [run.end() for run in runs] == ["Completed"] * 8
        assert [len(run.lines("looked")) for run in runs] == [1] * 8


def test_a_storm_is_worked_off(server: Server) -> None:
    """Runs for which no spare is ready get a child of their own."""
    runs = [server.start("quick") for _ in range(12)]
    assert [run.end() for run in runs] == ["Completed"] * 12
    assert len({run.pid() for run in runs}) == 12


@pytest.mark.long
def test_the_limit_holds(server: Server) -> None:
    """With a limit of one, the second run begins after the first has ended."""
    log = server.plane.logs / "narrow.log"
    template = server.http.get("/work_pools/responder").json()["base_job_template"]
    server.http.post("/work_pools/", json={"name": "narrow", "type": "responder", "base_job_template": template})
    server.deploy("slow", "narrow")
    command = ("flows.triggers.responder", "--pool", "narrow", "--limit", "1")
    with process(server.plane, log, *command, PREFECT_WORKER_QUERY_SECONDS="1"):
        until(lambda: log.exists() and "Connected to the event stream" in log.read_text(), "the narrow responder")
        runs = [server.start("slow", "narrow", parameters={"seconds": 1}) for _ in range(2)]
        assert [run.end() for run in runs] == ["Completed"] * 2
        first, second = sorted((run.read() for run in runs), key=lambda run: run["start_time"])
        assert second["start_time"] >= first["end_time"]


@pytest.mark.long
def test_prefects_own_command_starts_it(server: Server) -> None:
    """`prefect worker start --type responder` finds the type and takes runs."""
    log = server.plane.logs / "cli.log"
    server.plane.processes["responder"].stop()
    command = ("prefect", "worker", "start", "--type", "responder", "--pool", "responder")
    with process(server.plane, log, *command):
        run = server.start("quick")
        assert run.end() == "Completed"


def test_the_fork_server_may_die(server: Server) -> None:
    """Its running child goes on to its end, and the next run finds another fork server."""
    run = server.start("slow", parameters={"seconds": 3})
    run.pid()
    os.kill(fork_server(server), signal.SIGKILL)
    assert server.start("quick").end() == "Completed"
    assert run.end() == "Completed"
    assert run.lines("finished") == ["finished"]


def fork_server(server: Server) -> int:
    """Find the process that forks."""
    parent = server.plane.processes["responder"].pid
    return next(pid for pid in descendants(parent) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes())


def test_a_responder_that_is_stopped_waits_for_its_run(server: Server) -> None:
    """SIGTERM takes nothing new, and lets what runs come to its end."""
    run = server.start("slow", parameters={"seconds": 3})
    run.pid()
    responder = server.plane.processes["responder"].pid
    os.kill(responder, signal.SIGTERM)
    assert run.end() == "Completed"
    until(lambda: gone(responder), "the responder to leave")


@pytest.mark.long
def test_a_run_survives_its_responder(server: Server) -> None:
    """After SIGKILL of the responder its run goes on, is adopted by nobody, and leaves no process behind."""
    run = server.start("slow", parameters={"seconds": 4})
    child, forks = run.pid(), fork_server(server)
    os.kill(server.plane.processes["responder"].pid, signal.SIGKILL)
    assert server.start("quick").end() == "Completed"  # by the responder that was started instead
    assert run.end() == "Completed"
    assert len(run.lines("looked")) == 1
    until(lambda: gone(child) and gone(forks), "the old fork server to leave")


def test_a_claim_of_a_dead_responder_is_released(server: Server) -> None:
    """A run that was claimed and never started is run after all."""
    state = {"type": "PENDING", "name": "Pending", "message": f"Claimed by dead on {socket.gethostname()}."}
    run = server.start("quick", state=state)
    assert run.end() == "Completed"
    assert len(run.lines("looked")) == 1


def test_responder_and_run_may_die_together(server: Server) -> None:
    """A run of which nothing is left is called crashed by the next responder."""
    run = server.start("slow")
    child = run.pid()
    until(lambda: run.read()["infrastructure_pid"], "the pid")
    os.kill(server.plane.processes["responder"].pid, signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    assert run.end() == "Crashed"


@pytest.mark.long
def test_the_event_stream_comes_back(server: Server) -> None:
    """After the Prefect server was restarted, the next alert is heard again."""
    server.plane.restart("server")
    run = server.start("quick")
    assert run.end() == "Completed"


@pytest.mark.long
def test_memory_of_an_idle_responder(server: Server) -> None:
    """Worker, fork server and spare child together, shared pages counted once, stay below 250 MB."""
    server.plane.restart("responder")
    parent = server.plane.processes["responder"].pid
    until(lambda: len(descendants(parent)) == 2, "the spare child")
    time.sleep(3)
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in (parent, *descendants(parent))]
    megabytes = sum(int(re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)[0]) for text in rollups) / 1024
    assert megabytes < 250
