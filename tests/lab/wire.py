"""How the lab talks to its world, and what a host's remote shell looks like from outside."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

# Stands in for `ssh n1`: the script runs on the host as the database's user; a frozen or cut-off host
# hangs, one that is off says so and ends 255. bash, because it opens a connection without another process.
# Standard input is passed on as text.
SHELL = """#!/bin/bash
exec 3<>/dev/tcp/127.0.0.1/{port} || exit 255
[ -t 0 ] || IFS= read -r -d '' input
printf '%s\\0%s\\0%s\\0' {name} "$1" "$input" >&3
read -r code base <&3 || exit 255
[ -s "$base.out" ] && cat "$base.out"
[ -s "$base.err" ] && cat "$base.err" >&2
exit "$code"
"""


def write_shell(folder: Path, name: str, port: int) -> Path:
    """Write the program that runs a script on the host NAME; return its path."""
    path = folder / "host"
    path.write_text(SHELL.format(name=name, port=port))
    path.chmod(0o755)
    return path


def world_command(root: Path) -> list[str]:
    """Return the command that starts the world of the lab in ROOT."""
    return [sys.executable, "-m", "tests.lab.world", str(root)]


class World:
    """The lab's side of the control door."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, op: str, seconds: float = 60, **given: Any) -> Any:
        """Ask for one thing and return the answer."""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as line:
            line.sendall(json.dumps({"op": op, **given}).encode() + b"\n")
            answer = json.loads(line.makefile().readline())
        if "error" in answer:
            raise RuntimeError(f"the lab's world could not {op}: {answer['error']}")
        return answer["ok"]

    def answers(self) -> bool:
        """Tell whether the world is up."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def spawn(self, argv: list[str], folder: Path, log: Path, *, drop: bool = True) -> int:
        """Start a program that belongs to the lab; return its process id."""
        return int(self.ask("spawn", argv=argv, folder=str(folder), log=str(log), drop=drop))

    def run(self, argv: list[str], folder: Path, log: Path) -> None:
        """Run a program to its end on the host of FOLDER; the log is in the error when it fails."""
        code = self.ask("wait", pid=self.spawn(argv, folder, log))
        if code != 0:
            raise RuntimeError(f"{Path(argv[0]).name} ended {code}: {log.read_text(errors='replace')[-2000:]}")
