"""PgBouncer's admin console: it speaks the simple protocol only and has one SQLSTATE for every refusal."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import make_conninfo

from blocks.errors import Ambiguous, Misconfigured, SalvorError, Transient
from blocks.postgres_refusal import explain_connect, without_secrets
from blocks.postgres_wire import Connection, Row, connect, execute, finish


@dataclass(frozen=True)
class Console:
    """The address of a console; a session lasts for one call."""

    host: str
    port: int
    user: str
    password: str

    @property
    def where(self) -> str:
        """Name this PgBouncer for a sentence."""
        return f"PgBouncer at {self.host}:{self.port}"

    def ask(self, *commands: str, deadline: float) -> list[Row]:
        """Send COMMANDS that only read, and give the rows of the last."""
        return finish(self._talk(commands, deadline, unless="", lost=Transient))

    def tell(self, *commands: str, deadline: float, unless: str = "") -> list[Row]:
        """Send COMMANDS that change something; a refusal that holds the words UNLESS is fine."""
        return finish(self._talk(commands, deadline, unless=unless, lost=Ambiguous))

    async def _talk(
        self, commands: tuple[str, ...], deadline: float, *, unless: str, lost: type[SalvorError]
    ) -> list[Row]:
        until = time.monotonic() + deadline
        session = await self._log_in(deadline)
        rows: list[Row] = []
        try:
            for command in commands:
                rows = await self._send(session, command, until, unless=unless, lost=lost)
        finally:
            await session.close()
        return rows

    async def _log_in(self, deadline: float) -> Connection:
        address = make_conninfo(
            host=self.host, port=self.port, user=self.user, password=self.password or None, dbname="pgbouncer"
        )
        try:
            return await connect(address, deadline)
        except TimeoutError:
            raise Transient(f"{self.where} did not let us in within {deadline:g} s: nothing was sent.") from None
        except psycopg.Error as error:
            kind, problem = explain_connect(str(error))
            raise (Misconfigured if kind == "denied" else Transient)(f"{self.where} {problem}") from None

    async def _send(
        self, session: Connection, command: str, until: float, *, unless: str, lost: type[SalvorError]
    ) -> list[Row]:
        try:
            return await execute(session, command, until)
        except TimeoutError:
            raise lost(f"{self.where} did not finish `{command}` in time.") from None
        except psycopg.Error as error:
            said = without_secrets((error.diag.message_primary or "").strip())
            if not said:
                raise lost(f"{self.where} went away during `{command}`.") from None
            if unless and unless in said:
                return []
            raise Misconfigured(f"{self.where} refused `{command}`: {said}.") from None
