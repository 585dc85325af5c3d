"""PgBouncer's admin console: it speaks the simple protocol only and has one SQLSTATE for every refusal."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass, field

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import DiagnosticField, ExecStatus
from psycopg.pq.abc import PGresult

from blocks.errors import Ambiguous, Misconfigured, SalvorError, Transient
from blocks.postgres_refusal import explain_connect, without_secrets
from blocks.postgres_wire import Connection, connect, finish

Line = dict[str, str]


class _Gone(Exception):  # noqa: N818 - never leaves this file
    """The session was closed before the answer came."""


@dataclass
class Console:
    """The address of a console, and its session while one is kept: a login costs more than all commands together."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    _kept: Connection | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def where(self) -> str:
        """Name this PgBouncer for a sentence."""
        return f"PgBouncer at {self.host}:{self.port}"

    def ask(self, *commands: str, deadline: float) -> list[Line]:
        """Send COMMANDS that only read, and give the rows of the last."""
        return self._say(commands, deadline, unless="", lost=Transient)

    def tell(self, *commands: str, deadline: float, unless: str = "") -> list[Line]:
        """Send COMMANDS that change something; a refusal that holds the words UNLESS is fine."""
        return self._say(commands, deadline, unless=unless, lost=Ambiguous)

    def keep(self, deadline: float) -> None:
        """Log in now and keep the session for the calls that follow, until `close`."""
        self.close()
        self._kept = self._log_in(deadline)

    def close(self) -> None:
        """Close the session that was kept."""
        kept, self._kept = self._kept, None
        if kept:
            kept.pgconn.finish()

    def _say(self, commands: tuple[str, ...], deadline: float, *, unless: str, lost: type[SalvorError]) -> list[Line]:
        until = time.monotonic() + deadline
        if self._kept:
            try:
                return self._talk(self._kept, commands, until, unless=unless, lost=lost)
            except _Gone:  # PgBouncer was restarted since; each of our commands may be said again
                self.close()
        session = self._log_in(deadline)
        try:
            return self._talk(session, commands, until, unless=unless, lost=lost)
        except _Gone:
            raise lost(f"{self.where} went away during `{', '.join(commands)}`.") from None
        finally:
            session.pgconn.finish()

    def _log_in(self, deadline: float) -> Connection:
        address = make_conninfo(
            host=self.host, port=self.port, user=self.user, password=self.password or None, dbname="pgbouncer"
        )
        try:
            return finish(connect(address, deadline))
        except TimeoutError:
            raise Transient(f"{self.where} did not let us in within {deadline:g} s: nothing was sent.") from None
        except psycopg.Error as error:
            kind, problem = explain_connect(str(error))
            raise (Misconfigured if kind == "denied" else Transient)(f"{self.where} {problem}") from None

    def _talk(
        self, session: Connection, commands: tuple[str, ...], until: float, *, unless: str, lost: type[SalvorError]
    ) -> list[Line]:
        lines: list[Line] = []
        for command in commands:
            try:
                result = _send(session, command, until)
            except TimeoutError:
                # Not merely closed in order: what was sent must not be answered to the next question.
                session.pgconn.finish()
                raise lost(f"{self.where} did not finish `{command}` in time.") from None
            said = _refusal(result)
            if said and not (unless and unless in said):
                raise Misconfigured(f"{self.where} refused `{command}`: {said}.")
            lines = _lines(result)
        return lines


def _send(session: Connection, command: str, until: float) -> PGresult:
    wire, last = session.pgconn, None
    try:
        wire.send_query(command.encode())
        while wire.flush():
            _wait(wire.socket, select.POLLOUT, until)
        while True:
            while wire.is_busy():
                _wait(wire.socket, select.POLLIN, until)
                wire.consume_input()
            result = wire.get_result()
            if result is None:
                break
            last = result
    except psycopg.Error as error:
        raise _Gone from error
    if last is None:
        raise _Gone
    return last


def _wait(socket: int, what: int, until: float) -> None:
    ready = select.poll()
    ready.register(socket, what)
    if not ready.poll(max(0.0, until - time.monotonic()) * 1000):
        raise TimeoutError


def _refusal(result: PGresult) -> str:
    if result.status != ExecStatus.FATAL_ERROR:
        return ""
    if not result.error_field(DiagnosticField.SQLSTATE):
        raise _Gone
    return without_secrets((result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace"))


def _lines(result: PGresult) -> list[Line]:
    names = [(result.fname(i) or b"").decode() for i in range(result.nfields)]
    return [
        {name: (result.get_value(row, i) or b"").decode() for i, name in enumerate(names)}
        for row in range(result.ntuples)
    ]
