"""Carrying one schema from a server that is thrown away to one that lives: pg_dump into psql, in one transaction."""

from __future__ import annotations

from typing import Final

from psycopg.conninfo import make_conninfo

from blocks.backup_scripts import LOGIN
from blocks.node_scripts import script
from blocks.postgres_node import PostgresNode, ScriptFailed, without_password

APPLICATION = "salvor_extract"
POURED: Final = "poured"

# psql takes the end of its input for the end of the work, also where pg_dump has died: COMMIT is sent only when that
# has ended well, and what is said behind it only when COMMIT has. Neither looks at an exit code.
POUR: Final = (
    LOGIN
    + """
said=$({ echo "BEGIN;"
  "$B/pg_dump" -d "$FROM" -n "$SCHEMA" --no-password --no-owner --no-privileges --no-publications --no-subscriptions \\
    --no-security-labels --no-tablespaces && printf 'COMMIT;\\n\\\\echo %s\\n' "$POURED"
} | "$B/psql" -X -q --no-password -v ON_ERROR_STOP=1 -o /dev/null -d "$TO" 2>&1)
case $said in
*"$POURED") echo "$POURED";;
"") exit 1;;
*) printf "%s\\n" "$said" | sed -n "/ERROR\\|FATAL\\|error/ { s/^psql:[^ ]* *//; s/^ERROR: *//; p; q }" >&2; exit 1;;
esac
"""
)


def pour(host: PostgresNode, source: str, to: str, schema: str, deadline: float) -> None:
    """Carry SCHEMA, as it is at the conninfo SOURCE, to the conninfo TO, by the tools on HOST; all of it or nothing.

    Both take the same password. Whoever reads pg_stat_activity there knows it by APPLICATION.
    """
    begin, password = without_password(_patient(source))
    end, _ = without_password(_patient(to))
    # pg_dump reads a pattern: in double quotes nothing of it is one.
    quoted = '"' + schema.replace('"', '""') + '"'
    text = script(POUR, B=host.bin_directory, FROM=begin, TO=end, SCHEMA=quoted, POURED=POURED)
    done = host.control.run(text, deadline, stdin=f"{password}\n", writes=True)
    if done.rc != 0 or done.out.strip() != POURED:
        raise ScriptFailed(f"The tables could not be carried over: {done.said}.", done.rc)


def _patient(conninfo: str) -> str:
    # It may take hours, and wait for a disk: neither a statement nor the connection has the deadline of a look.
    options = "-c statement_timeout=0 -c lock_timeout=10s"
    return make_conninfo(conninfo, options=options, tcp_user_timeout=60_000, application_name=APPLICATION)
