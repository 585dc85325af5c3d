"""Keeps the processes of the control plane running: starts them, restarts them when they die, ends them by pid."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

POLL_SECONDS = 0.1
FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 30.0
#: A process that lived this long is not in a crash loop.
HEALTHY_SECONDS = 60.0


def began(pid: int) -> str:
    """When the process started, in clock ticks of its kernel: a pid alone may belong to another by now."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def descendants(pid: int) -> list[int]:
    """Find the processes that PID started, directly or not."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = [int(child) for child in (task / "children").read_text().split()]
            found += [*children, *(grandchild for child in children for grandchild in descendants(child))]
    return found


def end(pid: int, start: str, seconds: float) -> None:
    """Ask one process to end, and end it when SECONDS have passed; another with the same pid is left alone."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError):
        if began(pid) == start:
            os.kill(pid, signal.SIGTERM)
        while began(pid) == start and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 2)
        if began(pid) == start:
            os.kill(pid, signal.SIGKILL)


@dataclass
class Supervised:
    """One process of the control plane."""

    name: str
    command: Sequence[str]
    log: Path
    #: How long it may take to end when asked; what it started and left is then ended as well, unless it is None.
    patience_seconds: float = 10.0
    extra: Mapping[str, str] = field(default_factory=dict)  #: variables that the others do not have
    restarts: int = 0
    _popen: subprocess.Popen[bytes] | None = None
    _began_at: float = 0.0
    _back_off: float = FIRST_BACK_OFF_SECONDS
    _not_before: float = 0.0

    @property
    def pid(self) -> int:
        """The pid of the process as it runs now; 0 while it does not."""
        return self._popen.pid if self.alive and self._popen else 0

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._popen is not None and self._popen.poll() is None

    def start(self, env: Mapping[str, str], cwd: Path) -> None:
        """Start it, with its output at the end of its log."""
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: S603
                self.command,
                env={**env, **self.extra},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._began_at = time.monotonic()
        self._not_before = 0.0

    def due(self) -> bool:
        """Whether it has died and may be started again now; each death in a row makes the wait twice as long."""
        now = time.monotonic()
        if self.alive:
            return False
        if not self._not_before:
            lived = now - self._began_at
            self._back_off = FIRST_BACK_OFF_SECONDS if lived > HEALTHY_SECONDS else self._back_off
            self._not_before = now + self._back_off
            self._back_off = min(LONGEST_BACK_OFF_SECONDS, self._back_off * 2)
        return now >= self._not_before

    def stop(self, seconds: float | None = None) -> None:
        """Ask it to end; when it does not, end it."""
        if self._popen is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._popen.terminate()
        try:
            self._popen.wait(self.patience_seconds if seconds is None else seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


@dataclass
class Supervisor:
    """Watches its processes from a thread."""

    env: Mapping[str, str]
    cwd: Path
    changed: Callable[[], None] = lambda: None
    processes: dict[str, Supervised] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def add(self, process: Supervised) -> None:
        """Start PROCESS and keep it running."""
        with self._lock:
            self.processes[process.name] = process  # first: whoever is interrupted in between must know whom to end
            process.start(self.env, self.cwd)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._thread.start()
        self.changed()

    def restart(self, name: str) -> None:
        """End one process and start it again."""
        with self._lock:
            self.processes[name].stop()
            self.processes[name].start(self.env, self.cwd)
        self.changed()

    def stop(self) -> None:
        """End all processes, the last started first."""
        self._stopping.set()
        if self._thread and self._thread.is_alive():  # a signal may have come between making and starting it
            self._thread.join()
        for process in reversed([*self.processes.values()]):
            process.stop()

    def _watch(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            with self._lock:
                dead = [process for process in self.processes.values() if process.due()]
                for process in dead:
                    process.restarts += 1
                    process.start(self.env, self.cwd)
            if dead:
                self.changed()
