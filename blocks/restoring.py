"""Making a server from a recovery set, on the host where it is to run."""

from __future__ import annotations

from blocks import exchange_scripts
from blocks import restore_scripts as sh
from blocks.backup_listing import wal_name
from blocks.errors import SalvorError, Transient
from blocks.node_command import Completed
from blocks.node_scripts import labelled, script
from blocks.pgbackrest_place import PgBackRest
from blocks.postgres_node import PostgresNode, ScriptFailed

#: Back to what the server's own configuration says, once it has recovered: a standby that is made from it later
#: would stop at the same target.
RECOVERY_SETTINGS = (
    *("restore_command", "recovery_target_action", "recovery_target_timeline", "recovery_target_inclusive"),
    *("recovery_target", "recovery_target_lsn", "recovery_target_time", "recovery_target_name"),
)


class SetUnfit(SalvorError):  # noqa: N818 - named for what may have changed, as in errors.py
    """A set that was to be restored is damaged; nothing but the copy was touched."""

    code = 53

    def __init__(self, message: str = "", bad: dict[str, str] | None = None) -> None:
        """Keep what is wrong with which set."""
        super().__init__(message)
        self.bad = bad or {}


class Restoring:
    """One place where a set becomes a server: the directory of a node, or a scratch folder."""

    def __init__(self, node: PostgresNode, repository: str, into: str, pgbackrest: PgBackRest | None = None) -> None:
        """NODE runs it in its data directory; until it is finished it grows in INTO. PGBACKREST may hold the sets."""
        self.node = node
        self.grown = node.model_copy(update={"data_directory": into})
        self._values: dict[str, str | int] = {"R": repository, "INTO": into, "D": node.data_directory}
        self._values |= (pgbackrest or PgBackRest()).values

    def look(self, deadline: float = 10.0) -> dict[str, str]:
        """Give what can be seen of the place from its host, by labels: see `PostgresNode.look` and PLACE."""
        return labelled(self._run(sh.PLACE, deadline, "be looked at").out)

    def amcheck(self, login: tuple[str, str], databases: list[str], deadline: float, *, install: bool) -> str:
        """Compare every index in DATABASES with its table; give the complaints. LOGIN: role and password.

        INSTALL amcheck where it is missing: only in a copy that is thrown away.
        """
        values: dict[str, str | int] = {"HOST": self.node.host, "PORT": self.node.port, "ROLE": login[0]}
        values["INSTALL"] = "--install-missing" if install else ""
        # One option for each database; the shell takes them apart again at the spaces.
        values["DATABASES"] = " ".join(f"-d {name}" for name in databases if not set(name) & set(" \t\n*?["))
        text = self._script(sh.AMCHECK, **values)
        done = self.node.control.run(text, deadline, stdin=f"{login[1]}\n")
        return self._proven(done, "be compared").out.strip()

    def copy(self, chain: tuple[str, ...], deadline: float) -> str:
        """Copy the sets CHAIN, oldest first, into one directory; raise SetUnfit when one is damaged."""
        done = self.node.control.run(self._script(sh.COPY, CHAIN=" ".join(chain)), deadline, writes=True)
        bad = dict(line.removeprefix("bad ").partition(" ")[::2] for line in _lines(done.out, "bad "))
        if bad:
            said = "; ".join(f"{name}: {why}" for name, why in bad.items())
            raise SetUnfit(f"The set is damaged ({said}).", {n: w for n, w in bad.items() if n in chain})
        self._proven(done, f"be restored into {self._values['INTO']}")
        return "went on where an earlier restore had stopped" if "resumed" in done.out.split() else "copied"

    def prepare(self, last: str, settings: dict[str, str], *, own: bool, deadline: float = 30.0) -> None:
        """Give the copy its configuration (OWN: the node's, else only SETTINGS) and let it recover when it starts."""
        values = {"LAST": last, "NODE": self.node.name, "OWN": "yes" if own else "no"}
        self._write(sh.PREPARE, deadline, "be prepared", **values)
        fetch = f"/bin/sh salvor-fetch-wal {_shell(str(self._values['R']))} %f %p"
        self.grown.write_settings({"restore_command": fetch, **settings}, deadline)

    def salvage(self, stream: str, start: int, segment_bytes: int, deadline: float) -> str:
        """Copy the WAL of the damaged directory from the position START on into the repository."""
        first = wal_name(0, start, segment_bytes)[8:]
        values: dict[str, str | int] = {"STREAM": stream, "FIRST": first, "SEGMENT": segment_bytes}
        return self._write(sh.SALVAGE, deadline, "have its WAL copied out", **values).out.strip()

    def exchange(self, stamp: str, deadline: float = 30.0) -> str:
        """Let the copy take the place of the data directory, which is kept under another name."""
        return (
            self._write(exchange_scripts.EXCHANGE, deadline, "have its directory exchanged", STAMP=stamp)
            .out.strip()
            .replace("\n", "; ")
        )

    def admit(self, stamp: str, deadline: float = 10.0) -> None:
        """Write down that clients are let in from now on, so that `unexchange` refuses."""
        self._write(exchange_scripts.ADMIT, deadline, "be marked", STAMP=stamp)

    def unexchange(self, stamp: str, deadline: float = 30.0) -> str:
        """Undo `exchange`."""
        return self._write(exchange_scripts.UNEXCHANGE, deadline, "get its old directory back", STAMP=stamp).out.strip()

    def complaints(self, deadline: float = 5.0) -> str:
        """Give what the server said last of its recovery."""
        try:
            return "; ".join(self._run(sh.LOG_TAIL, deadline, "be asked").out.splitlines())
        except SalvorError:
            return ""

    def remove(self, deadline: float = 120.0) -> str:
        """End what runs in the directory that grew, and remove it: only ever a copy."""
        text = script(sh.REMOVE, D=str(self._values["INTO"]))
        return self._proven(self.node.control.run(text, deadline, writes=True), "be removed").out.strip()

    def _script(self, body: str, **values: str | int) -> str:
        return script(body, B=self.node.bin_directory, **self._values, **values)

    def _run(self, body: str, deadline: float, what: str, **values: str | int) -> Completed:
        return self._proven(self.node.control.run(self._script(body, **values), deadline), what)

    def _write(self, body: str, deadline: float, what: str, **values: str | int) -> Completed:
        done = self.node.control.run(self._script(body, **values), deadline, writes=True)
        return self._proven(done, what)

    def _proven(self, done: Completed, what: str) -> Completed:
        if done.rc != 0:
            raise ScriptFailed(f"{self.node.name} could not {what}: {done.said}.", done.rc)
        return done


def target_settings(kind: str, value: str, timeline: int, action: str) -> dict[str, str]:
    """Say to PostgreSQL where to stop; always an explicit target on an explicit timeline.

    With "latest" it would take a hole in the WAL for the end, and promote without a word.
    """
    if kind not in {"lsn", "time", "name", "immediate"}:
        raise Transient(f"{kind} is no target of a recovery.")
    where = {"recovery_target": kind} if kind == "immediate" else {f"recovery_target_{kind}": value}
    return where | {
        "recovery_target_inclusive": "true",
        "recovery_target_timeline": str(timeline),
        "recovery_target_action": action,
    }


def _lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def _shell(text: str) -> str:
    quote = "'" + text.replace("'", "'\\''") + "'"
    return quote.replace("%", "%%")
