"""Running a command of this machine, with a deadline that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from blocks.errors import Ambiguous, Misconfigured, Transient


class Completed(BaseModel):
    """How a script ended."""

    model_config = ConfigDict(frozen=True)

    rc: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The last line of its complaint, for a sentence."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1].rstrip(".") if lines else f"exit code {self.rc}, no words"


class Command(NamedTuple):
    """A command of this machine, and the host that it is about."""

    argv: list[str]
    where: str
    stdin: str = ""
    env: Mapping[str, str] = {}
    identity: Mapping[str, object] = {}


def spawn(command: Command, deadline_seconds: float, *, writes: bool = False) -> Completed:
    """Run a command of this machine; past the deadline it is killed with all it started."""
    try:
        child = subprocess.Popen(  # type: ignore[call-overload]  # noqa: S603
            command.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={**os.environ, **command.env},
            start_new_session=True,
            **command.identity,
        )
    except OSError as error:
        missing = f"`{command.argv[0]}` cannot be started here ({error.strerror})"
        raise Misconfigured(f"{missing}: install it or correct it.") from None
    try:
        out, err = child.communicate(command.stdin.encode(), timeout=deadline_seconds)
    except subprocess.TimeoutExpired:
        _kill(child)
        late = f"{command.where} did not finish within {deadline_seconds:g} s."
        if writes:
            raise Ambiguous(f"{late} It may have happened: look before repeating it.") from None
        raise Transient(f"{late} Nothing was changed.") from None
    return Completed(rc=child.returncode, out=out.decode(errors="replace"), err=err.decode(errors="replace"))


def _kill(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            with suppress(OSError):
                pipe.close()
    child.wait()
