"""Responders that start at once: forked, where many are killed, from a process that has imported what they need."""

from __future__ import annotations

import json
import os
import signal
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

    def __init__(self, env: Mapping[str, str]) -> None:
        """Give every responder this environment."""
        self._env = env
        self._lock = Lock()
        self._started: dict[int, str] = {}

    def __enter__(self) -> Self:
        """Import everything."""
        command = [sys.executable, "-m", __name__]
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
    from flows.triggers.responder import command  # noqa: PLC0415 - the other end must not pay for it

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
            sys.argv = ["responder", "--pool", pool]
            command.main()
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
