"""The shell that keeps WAL streaming into a repository, on the repository's host; see backup_scripts for folders."""

from __future__ import annotations

from typing import Final

from blocks.backup_scripts import LOGIN, OPEN

# Whoever streams into this repository is found by what it is, not by a file that may be of before a restart.
_RECEIVERS: Final = """
receivers() {
  ls -l /proc/[0-9]*/exe 2>/dev/null | while IFS= read -r line; do
    case $line in */pg_receivewal|*"/pg_receivewal (deleted)") ;; *) continue;; esac
    p=${line##* /proc/}; p=${p%%/exe*}
    case $(tr '\\000' ' ' 2>/dev/null <"/proc/$p/cmdline") in *" $R/wal/"*) echo "$p";; esac
  done
}
living() { for p in "$@"; do case $(readlink "/proc/$p/exe") in */pg_receivewal*) echo "$p";; esac; done; }
"""

# The newest folder is gone on with when a receiver has left its unfinished file there. One that a restore has filled
# with salvaged WAL has none, and its last file looks whole and may not be: then a new one begins, where the slot does.
_GOES_ON: Final = """
stream=$(ls -d [0-9]*Z 2>/dev/null | tail -n 1)
goes_on() { [ -n "$stream" ] && [ -n "$(ls "$stream" | grep -E "^[0-9A-F]{24}[.]partial$")" ]; }
"""

# One process per repository: whoever comes second finds it running. Who wants it ended says which one, so that two who
# saw the same trouble do not end each other's (ENDING; "any" for whoever has the history begun anew). It outlives us:
# an archive that stops when its supervisor restarts would be no archive. Only the start is locked, not the stream.
STREAM: Final = (
    OPEN
    + LOGIN
    + _RECEIVERS
    + """
# A file that a full disk has cut off while it was made, and that holds nothing yet, would stop the stream for ever.
clear_short() {
  find . -mindepth 2 -maxdepth 2 -name "*.partial" ! -size "${SEGMENT}c" | while IFS= read -r f; do
    [ -n "$(tr -d '\\000' <"$f" | head -c 1 | od -An -tx1)" ] || rm -f "$f"
  done
}
exec 9>"$R/wal/lock"
flock -w 20 9 || refuse "somebody else has been starting the WAL stream into $R for 20 s"
cd "$R/wal" || exit 1
old=$(receivers)
for p in $old; do ls -l "/proc/$p/fd" | grep -q socket: || clear_short; done
for p in $old; do
  case " $ENDING " in *" any "*|*" $p "*) ;; *) echo "already streaming"; exit 0;; esac
done
kill -TERM $old 2>/dev/null
i=0; while left=$(living $old) && [ -n "$left" ] && [ $i -lt 100 ]; do
  [ $i -lt 25 ] || kill -KILL $left 2>/dev/null
  sleep 0.02; i=$((i + 1))
done
[ -z "$left" ] || refuse "the WAL stream into $R cannot be ended: process $left"
clear_short
"""
    + _GOES_ON
    + """
[ "$ANEW" = no ] && goes_on || { stream=$(date -u +%Y%m%dT%H%M%SZ); [ ! -d "$stream" ] || sleep 1
  stream=$(date -u +%Y%m%dT%H%M%SZ); mkdir "$stream" || exit 1; }
setsid nohup "$B/pg_receivewal" -d "$FROM" -D "$R/wal/$stream" -S "$SLOT" --synchronous --no-password \
  </dev/null >receiver.log 2>&1 9>&- &
echo $! >receiver.part && mv receiver.part receiver && echo "streaming into $stream"
# The lock is kept until the process is what others look for.
i=0; while [ -z "$(living $!)" ] && kill -0 $! 2>/dev/null && [ $i -lt 100 ]; do sleep 0.01; i=$((i + 1)); done
"""
)

UNSTREAM: Final = _RECEIVERS + 'kill -TERM $(receivers) 2>/dev/null; rm -f "$R/wal/receiver"\n'

# The file at which a receiver goes on is the one with the highest number, whatever its timeline.
WATCH: Final = (
    _RECEIVERS
    + """
[ -e "$R" ] || [ ! -w "$(dirname "$R")" ] || exit 0
[ -d "$R" ] && ls "$R" >/dev/null || refuse "the repository $R cannot be read: mount it, or correct directory"
[ ! -f "$R/frozen" ] || echo "frozen $(head -n 1 "$R/frozen")"
[ -d "$R/wal" ] && cd "$R/wal" || exit 0
receivers | sed "s/^/receiver /"
"""
    + _GOES_ON
    + """
! goes_on || ls "$stream" | awk '
  /^[0-9A-F]+(.partial)?$/ { at = substr($0, 9, 16) substr($0, 1, 8) (length($0) == 24)
    if (at "" > best "") { best = at; name = $0 } }
  END { if (name != "") print "wal " name }'
echo "said $(grep -v "waiting [0-9]* seconds" receiver.log 2>/dev/null | tail -n 3 | tr "\\n\\t" "  ")"
"""
)

# What was salvaged for a restore that was taken back: its last file is cut short, and would hide the whole one.
DROP: Final = 'rm -rf "$R/wal/$STREAM.part" "$R/wal/$STREAM"\n'
