"""The shell that runs on a database host: one script, one round trip. POSIX sh and /proc, nothing else.

Every script gets its values as quoted variables from `script`; D is the data directory and B that of the
binaries. A script that refuses prints the sentence to standard error and ends with REFUSED.
"""

from __future__ import annotations

import shlex
from typing import Final

REFUSED: Final = 65
LEFT: Final = 66  #: signals were sent, and processes are still there at the deadline

_PREAMBLE: Final = """
set -u
LC_ALL=C; export LC_ALL
refuse() { echo "$*" >&2; exit 65; }
"""

# Processes are known by the directory they stand in, which the kernel tells the truth about, and not by
# postmaster.pid, which a dead postmaster leaves behind and its orphans survive. Two forks, however many processes.
FIND_PROCESSES: Final = """
real=$(cd "$D" 2>/dev/null && pwd -P) || refuse "There is no data directory $D: correct data_directory of the node."
case $real in ""|/) refuse "$D is no data directory";; esac
standing() {
  ls -l /proc/[0-9]*/cwd 2>/dev/null | while IFS= read -r line; do
    case $line in *" -> $real") line=${line##*/proc/}; echo "/proc/${line%%/cwd*}/exe";; esac
  done
}
processes() {
  found=$(standing)
  [ -n "$found" ] || return 0
  ls -l $found 2>/dev/null | while IFS= read -r line; do
    case $line in */postgres|*"/postgres (deleted)") line=${line##* /proc/}; echo "${line%%/exe*}";; esac
  done
}
# A dead postmaster that nobody has reaped yet still looks alive to PostgreSQL, which then refuses to start.
unlock() {
  p=$(head -n 1 "$D/postmaster.pid" 2>/dev/null)
  state=$(sed -n "s/^State:[[:space:]]*//p" "/proc/${p:-none}/status" 2>/dev/null)
  case $state in Z*) rm -f "$D/postmaster.pid";; esac
}
alive() { for p in $1; do [ -e "/proc/$p/exe" ] && return 0; done; return 1; }
"""

PROCESSES: Final = FIND_PROCESSES + "processes\n"

# Everything a decision needs of a server that does not answer, in one round trip.
LOOK: Final = (
    """
[ -e "$D" ] || { echo "directory: missing"; exit 0; }
[ -f "$D/PG_VERSION" ] || { echo "directory: unknown"; exit 0; }
"""
    + FIND_PROCESSES
    + """
echo "directory: present"
echo "processes:" $(processes)
[ ! -f "$D/standby.signal" ] || echo "standby.signal: yes"
"$B/pg_controldata" "$D" 2>&1
"""
)

# A signal and a look at the processes every few milliseconds; pg_ctl looks every 100 ms.
STOP: Final = (
    FIND_PROCESSES
    + """
[ "$STANDBY" = no ] || touch "$D/standby.signal" || refuse "cannot write $D/standby.signal"
asked=""
while :; do
  left=$(processes)
  [ -n "$left" ] || { echo gone; exit 0; }
  if [ "$SIGNAL" = KILL ]; then
    echo killed $left
    kill -KILL $left 2>/dev/null
  elif [ -z "$asked" ]; then
    asked=$(head -n 1 "$D/postmaster.pid" 2>/dev/null)
    case " "$(echo $left)" " in *" $asked "*) ;; *) refuse "$D has processes but no postmaster: kill them";; esac
    echo "sent $SIGNAL to $asked"
    kill -"$SIGNAL" "$asked" || exit 66
  fi
  looks=0
  while alive "$left" && [ $looks -lt 100 ]; do
    [ $LOOKS -gt 0 ] || { echo "still there:" $left >&2; exit 66; }
    sleep 0.005; looks=$((looks + 1)); LOOKS=$((LOOKS - 1))
  done
done
"""
)

START: Final = (
    FIND_PROCESSES
    + """
[ "$STANDBY" = no ] || [ -f "$D/standby.signal" ] || refuse "$D has no standby.signal: it would start as a primary"
[ -z "$(processes)" ] || refuse "a server is already running in $D"
unlock
if [ -n "$COMMAND" ]; then
  sh -c "$COMMAND" </dev/null >>"$LOG" 2>&1 || { tail -n 3 "$LOG" >&2; exit 1; }
else
  "$B/pg_ctl" start -D "$D" -w -t "$WAIT" -l "$LOG" ${CONFIG:+-o "-c config_file='$CONFIG'"} \
    </dev/null >/dev/null 2>&1 || { tail -n 5 "$LOG" >&2; exit 1; }
fi
processes
"""
)

CONTROL_DATA: Final = '"$B/pg_controldata" "$D"\n'

STANDBY_SIGNAL: Final = """
[ -f "$D/PG_VERSION" ] || refuse "$D is no data directory"
case $WANTED in yes) touch "$D/standby.signal";; no) rm -f "$D/standby.signal";; esac && sync "$D" 2>/dev/null || sync
"""

HAS_STANDBY_SIGNAL: Final = '[ -f "$D/PG_VERSION" ] || refuse "$D is no data directory"; [ -f "$D/standby.signal" ]\n'

# The new lines come by standard input, for one of them may hold a password; counted, for a connection that
# breaks looks like the end of the input.
SETTINGS: Final = (
    FIND_PROCESSES
    + """
[ -z "$(processes)" ] || refuse "a server is running in $D: use ALTER SYSTEM"
old=$D/postgresql.auto.conf; new=$D/postgresql.auto.conf.salvor
umask 077
cat >"$new.in"
[ "$(wc -c <"$new.in")" -eq "$BYTES" ] || refuse "the settings did not arrive whole"
{ if [ -f "$old" ]; then grep -Eiv "^[[:space:]]*($NAMES)[[:space:]]*[= ]" "$old"; fi; cat "$new.in"; } |
  dd of="$new" conv=fsync 2>/dev/null && mv -f "$new" "$old" && rm -f "$new.in" && echo written
"""
)

READ_FILE: Final = 'cat "$D/$NAME"\n'

FREE_BYTES: Final = """
at=$P
while [ ! -d "$at" ]; do at=$(dirname "$at"); done
df -Pk "$at" | awk 'NR == 2 { printf "%.0f\\n", $4 * 1024 }'
"""

USED_BYTES: Final = 'du -sk "$P" | awk \'{ printf "%.0f\\n", $1 * 1024 }\'\n'


def script(body: str, **values: str | int) -> str:
    """Put VALUES, quoted, before BODY."""
    assignments = "; ".join(f"{name}={shlex.quote(str(value))}" for name, value in values.items())
    return f"{_PREAMBLE}{assignments}\n{body}"


def labelled(text: str) -> dict[str, str]:
    """Read lines of `label: value`."""
    parts = (line.partition(":") for line in text.splitlines())
    return {label.strip(): value.strip() for label, _, value in parts}
