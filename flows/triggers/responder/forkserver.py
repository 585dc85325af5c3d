"""The process that forks a child for each run: it has imported every flow, has one thread, and does nothing else.

It is a program of its own (`python -m flows.triggers.responder.forkserver FD MODULE...`) because a process with an
event loop and threads must not fork. One spare child is kept ready, so that a run starts without waiting for a fork or
for a first connection. When the responder goes away, children that run a recovery are left to finish.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import NoReturn

from flows.triggers.responder import forked_run

#: What a run imports late, found by comparing sys.modules before and after one.
LATE_IMPORTS = (
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect._internal.observers",
    "prefect.artifacts",
    "prefect.events.worker",
    "prefect.events.clients",
    "prefect.input.run_input",
    "prefect.logging.handlers",
    "prefect.logging.clients",
    "prefect.runtime.flow_run",
    "prefect.runtime.task_run",
    "websockets.asyncio.client",
    "httpcore._async.http11",
    "httpcore._sync.http11",
    "httpcore._backends.anyio",
    "anyio._backends._asyncio",
    "encodings.idna",
    "graphviz",
    "prefect.utilities.visualization",
    "rich._emoji_codes",
    "concurrent.futures.thread",
)
#: A new spare is made this long after the last was used: its warm-up must not compete with the run that took it.
SPARE_DELAY_SECONDS = 1.0
RUN_ID_BYTES = 64


@dataclass
class ForkServer:
    """Forks on request, reaps, and reports both to the responder."""

    responder: socket.socket
    wakeup: socket.socket
    children: dict[int, str] = field(default_factory=dict)
    spare: tuple[int, socket.socket] | None = None

    def serve(self) -> None:
        """Answer requests until the responder is gone, then wait for the children that are left."""
        timeout: float | None = 0.0
        while True:
            ready, _, _ = select.select([self.responder, self.wakeup], [], [], timeout)
            timeout = None if self.spare else SPARE_DELAY_SECONDS
            if self.wakeup in ready:
                self.reap()
            if self.responder in ready and not self.answer():
                break
            if not ready and not self.spare:
                self.spare = self.fork(spare=True)
                timeout = None
        self.close()

    def answer(self) -> bool:
        """Give one run to a child; False when the responder has gone."""
        request, fds, _, _ = socket.recv_fds(self.responder, RUN_ID_BYTES, 2)
        if not request:
            return False
        pid, orders = self.spare or self.fork(spare=False)
        self.spare = None
        self.children[pid] = request.decode()
        with orders, contextlib.suppress(OSError):  # a spare that died meanwhile is reaped and reported like a crash
            socket.send_fds(orders, [b"run"], fds)
        for fd in fds:
            os.close(fd)
        self.report(run=request.decode(), pid=pid)
        return True

    def fork(self, *, spare: bool) -> tuple[int, socket.socket]:
        """Make a child that waits for its orders; a SPARE one has the time to get warm."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            ours.close()
            self.become_child(theirs, spare=spare)
        theirs.close()
        return pid, ours

    def become_child(self, orders: socket.socket, *, spare: bool) -> NoReturn:
        """Drop what belongs to the fork server, then live as one run."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for end in (self.responder, self.wakeup, *([self.spare[1]] if self.spare else [])):
            end.close()
        os.setpgid(0, 0)
        forked_run.live(orders, spare=spare)

    def reap(self) -> None:
        """Collect every child that ended, and tell the responder how."""
        with contextlib.suppress(BlockingIOError):
            while self.wakeup.recv(512):
                pass
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self.forget(*ended)

    def forget(self, pid: int, status: int) -> None:
        """Report an ended child, whether it ran something or was the spare."""
        run = self.children.pop(pid, "")
        if self.spare and self.spare[0] == pid:
            self.spare[1].close()
            self.spare = None
        if run:
            self.report(run=run, pid=pid, exit=os.waitstatus_to_exitcode(status))

    def report(self, **fact: str | int) -> None:
        """Tell the responder; when it is gone nobody needs to know."""
        with contextlib.suppress(OSError):
            self.responder.send(json.dumps(fact).encode())

    def close(self) -> None:
        """Let the spare go; stay until the last run has ended, so that none becomes a zombie."""
        if self.spare:
            self.spare[1].close()
            self.spare = None
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def preload(modules: list[str]) -> None:
    """Import what runs will need; a flow that cannot be imported says so when it is run, not here."""
    for name in (*LATE_IMPORTS, *modules):
        try:
            importlib.import_module(name)
        except Exception:
            logging.getLogger("salvor.forkserver").exception("%s cannot be imported", name)
    forked_run.prepare()
    gc.collect()
    gc.freeze()  # children share these pages for as long as nobody writes to them


def main() -> None:
    """Serve the responder at the other end of the socket whose number is the first argument."""
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s")
    responder = socket.socket(fileno=int(sys.argv[1]))
    preload(sys.argv[2:])
    wakeup, alarm = socket.socketpair()
    wakeup.setblocking(False)
    alarm.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # it ends with its responder, and never before its children
    server = ForkServer(responder, wakeup)
    server.report(ready=os.getpid())
    server.serve()


if __name__ == "__main__":
    main()
