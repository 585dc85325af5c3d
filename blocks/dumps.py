"""Logical copies: pg_dump beside the files of a set, and pg_restore of it into a server that is made for it."""

from __future__ import annotations

from typing import Final

from psycopg.conninfo import make_conninfo

from blocks.backup_records import Dump
from blocks.backup_repository import BackupRepository
from blocks.backup_scripts import LOGIN
from blocks.errors import Misconfigured
from blocks.node_scripts import labelled, script
from blocks.postgres_host import ScriptFailed
from blocks.postgres_node import PostgresNode
from blocks.postgres_rejoin import without_password
from blocks.restoring import SetUnfit

ROLES: Final = "roles.sql"
MADE: Final = "postgres"  #: the database that initdb makes

# What was written is read again, every row of it: a disk that is full ends pg_dump, one that lies does not.
DUMP: Final = (
    LOGIN
    + """
umask 077
part=$R/sets/.$I.part
[ -d "$part/data" ] || refuse "the set $I that grew is gone: somebody else has cleared it away"
mkdir -p "$part/dumps" && cd "$part/dumps" || exit 1
"$B/pg_dump" -Fc -Z 1 --no-password -d "$FROM" -f "$FILE" >&2 && sync "$FILE" &&
  "$B/pg_restore" -f /dev/null "$FILE" >&2 || { rm -f "$FILE"; exit 1; }
echo "bytes: $(wc -c <"$FILE")"
echo "sha256: $(sha256sum <"$FILE" | cut -d" " -f1)"
"""
)

# Of the roles only what rows, owners and policies refer to; no password of anybody is in a backup.
DUMP_ROLES: Final = (
    LOGIN
    + """
umask 077
"$B/pg_dumpall" --roles-only --no-role-passwords --no-password -d "$FROM" -f "$R/sets/.$I.part/dumps/$FILE" >&2
"""
)

# A server of its own, that only Salvor's role can enter, and which nobody finds.
MAKE: Final = (
    LOGIN
    + """
[ -d "$R/sets" ] || refuse "this host does not see the repository $R: mount it there"
[ ! -e "$D" ] || refuse "$D is in the way"
umask 077
mkdir -p "$(dirname "$D")" && echo "$I" >"$D.set" || exit 1
pass=$D.login; printf "%s\\n" "${PGPASSWORD:-}" >"$pass"
said=$("$B/initdb" -D "$D" -U "$ROLE" --pwfile="$pass" -A scram-sha-256 --no-locale -E UTF8 -k --no-sync 2>&1)
rc=$?; rm -f "$pass"; [ $rc -eq 0 ] || { echo "$said" | tail -n 3 >&2; exit 1; }
printf 'host all all all scram-sha-256\\n' >"$D/pg_hba.conf" && echo made
"""
)

# Roles that are there already, Salvor's own above all, are no failure; a row that does not come back is.
LOAD: Final = (
    LOGIN
    + """
from=$R/sets/$I/dumps
[ -f "$from/$FILE" ] || { echo "bad $FILE is not there"; exit 0; }
found=$(sha256sum <"$from/$FILE" | cut -d" " -f1)
[ "$found" = "$SHA" ] || { echo "bad $FILE is not as it was written"; exit 0; }
"$B/psql" -X -q --no-password -d "$TO" -f "$from/$ROLES" >/dev/null 2>&1
"$B/pg_restore" --no-password -d "$TO" $CREATE -j 2 --exit-on-error --no-tablespaces --no-publications \
  --no-subscriptions "$from/$FILE" >&2 && echo loaded
"""
)


def keep(block: BackupRepository, name: str, source: str, database: str, deadline: float) -> Dump:
    """Copy DATABASE, at the conninfo SOURCE, row by row into the set NAME that grows."""
    file = f"{database.encode().hex()}.dump"  # a database may have any name
    text = script(DUMP, **_values(block, name, source, file))
    said = labelled(_run(block, text, source, deadline, f"keep a copy of {database}"))
    return Dump(file=file, database=database, bytes=int(said["bytes"]), sha256=said["sha256"])


def keep_roles(block: BackupRepository, name: str, source: str, deadline: float = 60.0) -> None:
    """Write down which roles there are, without their passwords."""
    _run(block, script(DUMP_ROLES, **_values(block, name, source, ROLES)), source, deadline, "keep the roles")


def _values(block: BackupRepository, name: str, source: str, file: str) -> dict[str, str]:
    conninfo, _ = without_password(_patient(source))
    return {"R": block.directory, "B": block.bin_directory, "I": name, "FROM": conninfo, "FILE": file}


def _run(block: BackupRepository, text: str, source: str, deadline: float, what: str) -> str:
    _, password = without_password(source)
    done = block.control.run(text, deadline, stdin=f"{password}\n", writes=True)
    if done.rc != 0:
        raise ScriptFailed(f"The repository could not {what}: {done.said}.", done.rc)
    return done.out


class Unpacking:
    """A server that is made for the logical copies of one set."""

    def __init__(self, node: PostgresNode, repository: str, name: str) -> None:
        """NODE runs it, and its host sees REPOSITORY, which holds the set NAME."""
        self.node, self._name = node, name
        self._values = {"R": repository, "B": node.bin_directory, "D": node.data_directory, "I": name}

    def make(self, role: str, password: str, deadline: float) -> None:
        """Make an empty server, that only ROLE may enter."""
        if not password:
            raise Misconfigured("A server for a logical copy needs a password: give it in the cluster's block.")
        text = script(MAKE, **self._values, ROLE=role)
        done = self.node.control.run(text, deadline, stdin=f"{password}\n", writes=True)
        if done.rc != 0:
            raise ScriptFailed(f"{self.node.name} could not be made: {done.said}.", done.rc)

    def load(self, dump: Dump, to: str, deadline: float) -> None:
        """Load DUMP into the server at the conninfo TO; raise SetUnfit when it is damaged."""
        conninfo, password = without_password(_patient(to))
        values = {"TO": conninfo, "ROLES": ROLES, "FILE": dump.file, "SHA": dump.sha256}
        # The database that every server has already is not made anew.
        values |= {"CREATE": "" if dump.database == MADE else "--create"}
        text = script(LOAD, **self._values, **values)
        done = self.node.control.run(text, deadline, stdin=f"{password}\n", writes=True)
        if done.out.startswith("bad "):
            raise SetUnfit(f"The logical copy of {dump.database} in {self._name} is damaged: {done.out[4:].strip()}.")
        if done.rc != 0 or done.out.strip() != "loaded":
            raise ScriptFailed(f"{dump.database} could not be loaded: {done.said}.", done.rc)


def _patient(conninfo: str) -> str:
    # It may take hours: neither a statement nor the connection has the deadline of a look.
    return make_conninfo(conninfo, options="-c statement_timeout=0", tcp_user_timeout=60_000)
