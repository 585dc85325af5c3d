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
_PROCESSES: Final = """
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
  case $(sed -n "s/^State:[[:space:]]*//p" "/proc/${p:-none}/status" 2>/dev/null) in Z*) rm -f "$D/postmaster.pid";; esac
}
alive() { for p in $1; do [ -e "/proc/$p/exe" ] && return 0; done; return 1; }
"""

PROCESSES: Final = _PROCESSES + "processes\n"

# Everything a decision needs of a server that does not answer, in one round trip.
LOOK: Final = (
    """
[ -e "$D" ] || { echo "directory: missing"; exit 0; }
[ -f "$D/PG_VERSION" ] || { echo "directory: unknown"; exit 0; }
"""
    + _PROCESSES
    + """
echo "directory: present"
echo "processes:" $(processes)
[ ! -f "$D/standby.signal" ] || echo "standby.signal: yes"
"$B/pg_controldata" "$D" 2>&1
"""
)

# A signal and a look at the processes every few milliseconds; pg_ctl looks every 100 ms.
STOP: Final = (
    _PROCESSES
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
    _PROCESSES
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
    _PROCESSES
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

_LOGIN: Final = """
IFS= read -r PGPASSWORD || :
[ -z "$PGPASSWORD" ] && unset PGPASSWORD || export PGPASSWORD
"""

# standby.signal at once, in the same script: a copy of a primary that is started without it is a second primary.
BASEBACKUP: Final = (
    _LOGIN
    + """
if [ -e "$INTO" ] && [ -n "$(ls -A "$INTO" 2>/dev/null)" ]; then refuse "$INTO is not empty: it is not overwritten"; fi
"$B/pg_basebackup" -d "$FROM" -D "$INTO" -c fast -X stream --no-password ${SLOT:+-S "$SLOT"} $CREATE_SLOT >&2 || exit
touch "$INTO/standby.signal" && echo copied
"""
)

# pg_rewind replaces the configuration by the source's and removes standby.signal, and a crashed target must recover
# without it (single-user mode refuses it). So: recover first, keeping all WAL, for the checkpoint at the end of
# recovery would recycle what pg_rewind needs; then the signal; then rewind; then signal and configuration again.
REWIND: Final = (
    _PROCESSES
    + _LOGIN
    + """
[ -z "$(processes)" ] || refuse "a server is still running in $D"
unlock
conf=${CONFIG:-$D/postgresql.conf}
if ! "$B/pg_controldata" "$D" | grep -q "^Database cluster state: *shut down"; then
  trap 'touch "$D/standby.signal"' EXIT
  rm -f "$D/standby.signal"
  "$B/postgres" --single -F -D "$D" -c config_file="$conf" -c wal_keep_size=1000000 -c max_slot_wal_keep_size=-1 \
    template1 </dev/null >&2
  recovered=$?
  touch "$D/standby.signal"
  [ $recovered -eq 0 ] || { echo "crash recovery failed" >&2; exit 1; }
fi
touch "$D/standby.signal"
# A copy that is already there is from an attempt that was killed, and the only one that is still this node's own.
if [ ! -d "$KEEP" ]; then
  rm -rf "$KEEP.part" && mkdir -m 700 "$KEEP.part" || refuse "cannot make $KEEP"
  for f in postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf; do
    [ ! -f "$D/$f" ] || cp -p "$D/$f" "$KEEP.part/$f" || exit 1
  done
  mv "$KEEP.part" "$KEEP"
fi
"$B/pg_rewind" -D "$D" --source-server="$FROM" --no-ensure-shutdown $RESTORE ${CONFIG:+--config-file="$CONFIG"} >&2
rc=$?
touch "$D/standby.signal"
for f in "$KEEP"/*; do [ ! -f "$f" ] || cp -p "$f" "$D/" || exit 1; done
[ $rc -ne 0 ] || rm -rf "$KEEP"
exit $rc
"""
)

# It ends with an error where the WAL ends; its last complaint says where that was.
WALDUMP: Final = """
{ "$B/pg_waldump" -p "$D/pg_wal" -t "$TIMELINE" -s "$START" ${END:+-e "$END"} -r Transaction 2>&1 1>&3 |
  tail -n 1 >&2; } 3>&1 | head -n "$MAX"
"""

READ_FILE: Final = 'cat "$D/$NAME"\n'

FREE_BYTES: Final = """
at=$P
while [ ! -d "$at" ]; do at=$(dirname "$at"); done
df -Pk "$at" | awk 'NR == 2 { printf "%.0f\\n", $4 * 1024 }'
"""

USED_BYTES: Final = 'du -sk "$P" | awk \'{ printf "%.0f\\n", $1 * 1024 }\'\n'

RENAME: Final = (
    _PROCESSES
    + """
[ -z "$(processes)" ] || refuse "a server is still running in $D"
[ ! -e "$TO" ] || refuse "$TO is already there: it is not overwritten"
mv "$D" "$TO" && echo renamed
"""
)


# The WAL that a rewind will discard, beside the data directory, with the list of its commits from standard input. The
# place is named for where the histories parted, so that doing it twice is doing it once.
KEEP_WAL: Final = """
[ -d "$D/pg_wal" ] || refuse "there is no WAL in $D"
mkdir -p -m 700 "$TO" && cat >"$TO/commits.txt" || exit 1
for f in "$D"/pg_wal/"$TIMELINE"????????????????; do
  [ -f "$f" ] || continue
  name=${f##*/}
  if expr "$name" ">=" "$FIRST" >/dev/null; then cp -p "$f" "$TO/" || exit 1; fi
done
echo "$TO"
"""

REMOVE_COPY: Final = """
rm -rf "$D.salvor-copy"
"""

# The copy gets this node's own configuration; then old and new change places by two renames. Killed between the two,
# the directory is missing, which the next look sees, and the next run copies again.
EXCHANGE: Final = (
    """
copy=$D.salvor-copy
[ -f "$copy/standby.signal" ] || refuse "the copy in $copy is not finished"
if [ -e "$D" ]; then
"""
    + _PROCESSES
    + """
  [ -z "$(processes)" ] || refuse "a server is still running in $D"
  for f in postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf; do
    own="$D.salvor-conf/$f"; [ -f "$own" ] || own="$D/$f"
    [ ! -f "$own" ] || cp -p "$own" "$copy/$f" || exit 1
  done
  kept="$D.old-$(date -u +%Y%m%dT%H%M%SZ)"
  mv "$D" "$kept" && rm -rf "$D.salvor-conf" && echo "the old directory is kept as $kept"
fi
mv "$copy" "$D"
"""
)


def script(body: str, **values: str | int) -> str:
    """Put VALUES, quoted, before BODY."""
    assignments = "; ".join(f"{name}={shlex.quote(str(value))}" for name, value in values.items())
    return f"{_PREAMBLE}{assignments}\n{body}"
