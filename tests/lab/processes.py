"""The processes of a lab: found by what the kernel says about them, so that none escapes and no other is hit."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

#: Environment variable that every process started for a lab carries; its value is a folder of the lab.
MARK = "SALVOR_LAB"
IPC_RMID = 0


def belonging(folder: Path) -> list[int]:
    """List the living processes that work in FOLDER or were started for it, without the caller itself."""
    return [pid for pid in _pids() if pid != os.getpid() and _belongs(pid, folder)]


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _belongs(pid: int, folder: Path) -> bool:
    proc = Path("/proc") / str(pid)
    try:
        # A postmaster and its children overwrite their environment with their title, but all of them
        # stand in the data directory.
        return _within(str((proc / "cwd").readlink()), folder) or _marked(proc, folder)
    except OSError:
        return False


def _within(path: str, folder: Path) -> bool:
    path = path.removesuffix(" (deleted)")
    return path == str(folder) or path.startswith(f"{folder}/")


def _marked(proc: Path, folder: Path) -> bool:
    for item in (proc / "environ").read_bytes().split(b"\0"):
        name, _, value = item.partition(b"=")
        if name == MARK.encode():
            return _within(os.fsdecode(value), folder)
    return False


def alive(pid: int) -> bool:
    """Tell whether PID exists; a zombie does not."""
    return state(pid) not in "ZX"


def state(pid: int) -> str:
    """Return the kernel's letter for PID: R or S when it runs, T when it is stopped, X when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to each of PIDS that still exists."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def signal_all(folder: Path, number: signal.Signals, spare: frozenset[int] = frozenset()) -> int:
    """Send a signal to all processes of FOLDER, looking again until no new one turns up; return how many."""
    seen: set[int] = set()
    while fresh := [pid for pid in belonging(folder) if pid not in seen | spare and alive(pid)]:
        send(fresh, number)
        seen.update(fresh)
    return len(seen)


def end_all(folder: Path, seconds: float = 10, spare: frozenset[int] = frozenset()) -> None:
    """SIGKILL everything that belongs to FOLDER and wait until it is gone."""
    signal_all(folder, signal.SIGKILL, spare)
    wait_until(lambda: not any(alive(p) for p in belonging(folder) if p not in spare), seconds, f"{folder} to be empty")


def wait_until(true: Callable[[], object], seconds: float, what: str, step: float = 0.01) -> None:
    """Wait until TRUE() holds; after SECONDS give up with a sentence."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {seconds:g} s for {what}.")
        time.sleep(step)


def remove_shared_memory(root: Path) -> None:
    """Remove the System V segments that killed postmasters of ROOT left behind."""
    libc = ctypes.CDLL(None)
    for pidfile in root.glob("**/postmaster.pid*"):
        lines = pidfile.read_text().splitlines()
        key, _, number = (lines[6] if len(lines) > 6 else "").strip().partition(" ")
        if number.strip().isdigit() and _key_of(int(number)) == int(key):
            libc.shmctl(int(number), IPC_RMID, None)


def _key_of(segment: int) -> int | None:
    """Return the key of an unattached shared memory segment: numbers are reused, so it must match."""
    for row in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]:
        fields = row.split()
        if int(fields[1]) == segment and int(fields[6]) == 0:
            return int(fields[0]) % 2**32
    return None
