"""Responders that start at once: forked, where many are killed, from a process that has imported what they need."""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from threading import Lock
from typing import Self

from flows.triggers.plane.folder import PROJECT
from flows.triggers.plane.supervisor import began
from flows.triggers.plane.supervisor import end as end_process


class Understudies:
    """A process that becomes a responder as often as it is asked to."""

    def __init__(self, env: Mapping[str, str], preload: list[str]) -> None:
        """Give every responder this environment, and have imported what its runs will need."""
        self._env = env
        self._preload = preload
        self._lock = Lock()
        self._started: dict[int, str] = {}

    def __enter__(self) -> Self:
        """Import everything."""
        command = [sys.executable, "-m", __name__, *self._preload]
        pipe = subprocess.PIPE
        self._parent = subprocess.Popen(command, cwd=PROJECT, env=self._env, stdin=pipe, stdout=pipe, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        """End them all."""
        self._parent.kill()
        self._parent.wait()
        for pid, start in self._started.items():
            end_process(pid, start, 0)

    def responder(self, pool: str, log: str) -> int:
        """Start a responder of POOL; return its pid."""
        assert self._parent.stdin
        assert self._parent.stdout
        with self._lock:
            self._parent.stdin.write(json.dumps([pool, log]) + "\n")
            self._parent.stdin.flush()
            pid = int(self._parent.stdout.readline())
        self._started[pid] = began(pid)
        return pid


def main() -> None:
    """Fork a responder for every line; the dead are buried by the kernel."""
    from flows.triggers.responder import command, forkserver  # noqa: F401, PLC0415 - the other end must not pay for it

    for name in (*forkserver.LATE_IMPORTS, *sys.argv[1:]):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or every responder, and every fork server, would look through all of it once more
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        pool, log = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for stream in (1, 2):
                os.dup2(file, stream)
            sys.stdin.close()
            respond(pool)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def respond(pool: str) -> None:
    """Be a responder, whose first fork server is forked before there is any thread: it has everything imported."""
    from flows.triggers.responder import command, forkserver, worker  # noqa: PLC0415 - see above
    from flows.triggers.responder.forks import Forks, at_end  # noqa: PLC0415 - see above

    door, inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ready = os.fork()
    if ready == 0:
        os.setsid()
        door.close()
        preload, fds, _, _ = socket.recv_fds(inside, 65536, 1)
        if fds:
            sys.argv = ["forkserver", str(fds[0]), *json.loads(preload)]
            forkserver.main()
        os._exit(0)
    inside.close()

    class Prepared(Forks):
        def spawn(self, theirs: socket.socket) -> int:
            if door.fileno() < 0:  # it is used up
                return super().spawn(theirs)
            with door:
                socket.send_fds(door, [json.dumps(self.preload).encode()], [theirs.fileno()])
            at_end(ready, lambda: os.waitpid(ready, 0))
            return ready

    worker.Forks = Prepared  # type: ignore[misc]
    sys.argv = ["responder", "--pool", pool]
    command.main()


if __name__ == "__main__":
    main()
