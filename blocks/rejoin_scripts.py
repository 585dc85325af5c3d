"""The shell that brings a server back behind another one: copy, rewind, and what becomes of the old directory."""

from __future__ import annotations

from typing import Final

from blocks.node_scripts import FIND_PROCESSES

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
    FIND_PROCESSES
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

RENAME: Final = (
    FIND_PROCESSES
    + """
[ -z "$(processes)" ] || refuse "a server is still running in $D"
[ ! -e "$TO" ] || refuse "$TO is already there: it is not overwritten"
mv "$D" "$TO" && echo renamed
"""
)


# A file that was renamed for later use still says inside whose place it had: with it what was written ends.
WRITTEN: Final = """
written() {
  name=${1##*/}; place=${name#????????}
  [ "$(od -An -tu8 -j8 -N8 "$1" | tr -d " ")" = $((0x${place%????????} * 4294967296 + 0x${place#????????} * SEGMENT)) ]
}
"""

# The WAL that a rewind will discard, beside the data directory, with the list of its commits from standard input. The
# place is named for where the histories parted, so that doing it twice is doing it once.
KEEP_WAL: Final = (
    WRITTEN
    + """
[ -d "$D/pg_wal" ] || refuse "there is no WAL in $D"
discarded() {
  for f in "$D"/pg_wal/"$TIMELINE"????????????????; do
    if [ ! -f "$f" ] || expr "${f##*/}" "<" "$FIRST" >/dev/null; then continue; fi
    written "$f" || break
    echo "$f"
  done
}
needed=0
for f in $(discarded); do
  [ -f "$TO/${f##*/}" ] || needed=$((needed + $(wc -c <"$f") / 1048576))
done
free=$(df -Pk "$D" | awk 'NR == 2 { printf "%.0f", $4 / 1024 }')
[ "$free" -ge "$needed" ] ||
  refuse "it needs $needed MB and $free MB are free beside $D: make room, then run this again"
mkdir -p -m 700 "$TO" && cat >"$TO/commits.txt" || exit 1
for f in $(discarded); do
  cp -p "$f" "$TO/" || exit 1
done
echo "$TO"
"""
)

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
    + FIND_PROCESSES
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
