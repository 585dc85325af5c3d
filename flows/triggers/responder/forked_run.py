"""The life of one forked child: get warm, wait for a run, run it, leave with an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import sys
from contextlib import ExitStack
from typing import Any, NoReturn

from prefect._internal.control_listener import configure_from_env
from prefect.client.schemas.objects import FlowRun
from prefect.context import SettingsContext, SyncClientContext, get_settings_context
from prefect.engine import _drive_run_flow_result, handle_engine_signals
from prefect.events.worker import EventsWorker
from prefect.filesystems import LocalFileSystem
from prefect.flow_engine import run_flow
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.logging.handlers import APILogWorker
from prefect.logging.loggers import flow_run_logger
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, Settings, temporary_settings
from prefect.utilities.asyncutils import run_coro_as_sync
from pydantic import BaseModel

DRAIN_SECONDS = 10.0
ORDER_BYTES = 64
logger = logging.getLogger("salvor.forked_run")
#: Contexts that are entered for the whole life of the process.
for_life = ExitStack()


class Order(BaseModel):
    """What a child is told about the run it lives for."""

    flow_run: FlowRun
    entrypoint: str
    env: dict[str, str]
    log: str


def prepare() -> None:
    """Settle, before any fork, what all children share."""
    # The ledger's lease is the heartbeat of a recovery; Prefect's would hold the end of every run up for a second.
    # No environment variable can say None, so it is said here.
    for_life.enter_context(temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}))


def live(orders: socket.socket, *, spare: bool) -> NoReturn:
    """Be one child, from the fork to the exit."""
    code = 1
    try:
        random.seed()
        if spare:
            warm()
        request, fds, _, _ = socket.recv_fds(orders, ORDER_BYTES, 2)
        code = obey(read_order(fds[0])) if request else 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        logger.exception("The run ended with an error that nobody caught")
    finally:
        say_goodbye()
        os._exit(code)  # atexit hooks belong to the fork server


def warm() -> None:
    """Open now what a run would otherwise open first; without an API it will be opened by the run."""
    run_coro_as_sync(_nothing())
    with contextlib.suppress(Exception):
        for_life.enter_context(SyncClientContext())
    with contextlib.suppress(Exception):
        EventsWorker.instance()
        APILogWorker.instance()


async def _nothing() -> None:
    """Start the loop thread in which Prefect runs what is asynchronous."""


def read_order(fd: int) -> Order:
    """Read the order from the memory file that came with it."""
    with open(fd, "rb") as file:
        file.seek(0)
        return Order.model_validate_json(file.read())


def obey(order: Order) -> int:
    """Run the flow as Prefect's own engine process would."""
    redirect_output(order.log)
    adopt_environment(order.env)
    configure_from_env()
    with handle_engine_signals(order.flow_run.id):
        flow: Flow[..., Any] = load_flow_from_entrypoint(order.entrypoint, use_placeholder_flow=False)
        if flow.persist_result is None:  # unless said, nothing is kept, and the server is not asked three times where
            flow.persist_result = False
            flow.result_storage = flow.result_storage or LocalFileSystem()
        # Without a deployment id the engine does not wait for its suspension observer (a websocket and two
        # requests); it reads the whole run again, deployment included, as soon as the run is RUNNING.
        flow_run = order.flow_run.model_copy(update={"deployment_id": None})
        logger: Any = flow_run_logger(flow_run)
        _drive_run_flow_result(flow, run_flow(flow, flow_run=flow_run, error_logger=logger))
    return 0


def redirect_output(path: str) -> None:
    """Send what is printed to the log file of this run."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(fd, stream)
    os.close(fd)


def adopt_environment(env: dict[str, str]) -> None:
    """Take over the job's variables, and read the settings anew when one of them is a setting of Prefect."""
    changed = [key for key, value in env.items() if os.environ.get(key) != value]
    os.environ.update(env)
    if any(key.startswith("PREFECT_") and not key.startswith("PREFECT__") for key in changed):
        for_life.enter_context(SettingsContext(profile=get_settings_context().profile, settings=Settings()))
        prepare()


def say_goodbye() -> None:
    """Send the last events and logs, but do not wait for ever for a server that is down."""
    for service in (EventsWorker, APILogWorker):
        with contextlib.suppress(Exception):
            service.drain_all(timeout=DRAIN_SECONDS)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
