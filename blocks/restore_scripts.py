"""The shell that makes a server from a recovery set, on the host where it is to run.

INTO is the directory that grows, D the data directory whose place it takes, R the repository as this host sees it.
"""

from __future__ import annotations

from typing import Final

from blocks.backup_scripts import ELSEWHERE
from blocks.node_scripts import FIND_PROCESSES, LOOK
from blocks.pgbackrest_scripts import RESTORE
from blocks.rejoin_scripts import WRITTEN

# Beside the copy every set is compared with its manifest, which costs nothing where there is a second processor. An
# attempt that was killed goes on: a file whose size and time are those of the set was copied whole, for `cp` sets the
# time last. What is built from increments cannot go on, and begins anew. What pgBackRest holds, it copies and proves.
COPY: Final = (
    ELSEWHERE
    + """
[ -d "$R/sets" ] || refuse "this host does not see the repository $R: mount it there"
state=$INTO.set
if [ -e "$INTO" ] && [ "$(cat "$state" 2>/dev/null)" != "$CHAIN" ]; then
  [ -f "$state" ] || refuse "$INTO is in the way, and no restore has left it: move it elsewhere"
  rm -rf "$INTO"
fi
mkdir -p "$(dirname "$INTO")" && echo "$CHAIN" >"$state.part" && mv "$state.part" "$state" || exit 1
LABEL=$(cat "$R/sets/${CHAIN##* }/data/label" 2>/dev/null)
if [ -n "$LABEL" ]; then
"""
    + RESTORE
    + """
fi
proofs=""
for set in $CHAIN; do
  { "$B/pg_verifybackup" -q "$R/sets/$set/data" >"$INTO.proof-$set" 2>&1 </dev/null
    echo "rc $?" >>"$INTO.proof-$set"; } &
  proofs="$proofs $!"
done
resumed=no
case $CHAIN in
*" "*)
  rm -rf "$INTO"; paths=""
  for set in $CHAIN; do paths="$paths $R/sets/$set/data"; done
  "$B/pg_combinebackup" -o "$INTO" $paths >&2 ;;
*)
  from=$R/sets/$CHAIN/data
  if [ ! -e "$INTO" ]; then cp -a --reflink=auto "$from" "$INTO" >&2
  else
    resumed=yes
    all() { (cd "$1" && find . -type f -printf "%P\\t%s\\t%T@\\n") | LC_ALL=C sort; }
    (cd "$from" && find . -type d -exec mkdir -p -m 700 "$INTO/{}" \\;) &&
      all "$from" >"$INTO.all" && all "$INTO" | cut -f1 >"$INTO.have" &&
      cut -f1 "$INTO.all" | LC_ALL=C comm -13 - "$INTO.have" | (cd "$INTO" && xargs -r -d "\\n" rm -f) &&
      all "$INTO" >"$INTO.have" &&
      LC_ALL=C comm -23 "$INTO.all" "$INTO.have" | cut -f1 |
      (cd "$from" && xargs -r -d "\\n" cp -a --parents -t "$INTO") >&2
  fi ;;
esac
copied=$?
wait $proofs
unread=""
for set in $CHAIN; do
  said=$(head -n 1 "$INTO.proof-$set") rc=$(sed -n "s/^rc //p" "$INTO.proof-$set")
  if [ "$rc" != 0 ] && [ "$rc" != 1 ] || grep -qE "$elsewhere" "$INTO.proof-$set"; then unread="$set: $said"
  elif [ "$rc" = 1 ]; then echo "bad $set $said"; fi
done
rm -f "$INTO".proof-* "$INTO.all" "$INTO.have"
[ -z "$unread" ] || refuse "the set could not be compared with its manifest ($unread)"
[ $copied -eq 0 ] || exit 1
chmod 700 "$INTO"
[ $resumed = no ] || { echo "resumed"; "$B/pg_verifybackup" -q "$INTO" 2>&1 | sed "s/^/bad copy /"; }
"""
)

# This node's own configuration: of the directory whose place is taken, else as it was kept with the set.
# fetch-wal ends with 1 only when a file is nowhere: PostgreSQL takes that for the end of the WAL and promotes. Where
# it could not look it ends with 126, which stops the recovery. A file that a full disk has cut off is none.
PREPARE: Final = """
[ -f "$INTO/PG_VERSION" ] || refuse "$INTO holds no restored server"
for f in postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf; do
  for own in "$D/$f" "$R/sets/$LAST/nodes/$NODE/$f"; do
    if [ "$OWN" = yes ] && [ -s "$own" ]; then cp "$own" "$INTO/$f" && chmod 600 "$INTO/$f" || exit 1; break; fi
  done
done
[ -f "$INTO/postgresql.conf" ] || : >"$INTO/postgresql.conf"
[ "$OWN" = yes ] || printf 'host all all all scram-sha-256\\nlocal all all scram-sha-256\\n' >"$INTO/pg_hba.conf"
rm -f "$INTO/standby.signal" "$INTO/backup_manifest" "$INTO/salvor-start.log" "$INTO"/pg_wal/archive_status/*
: >"$INTO/recovery.signal"
cat >"$INTO/salvor-fetch-wal" <<'END'
#!/bin/sh
wal=$1/wal; name=$2; to=$3
[ -f "$1/system" ] && ls "$wal" >/dev/null 2>&1 || exit 126
for kind in "" .partial; do
  for stream in $(cd "$wal" && ls -dr [0-9]*Z 2>/dev/null); do
    [ -x "$wal/$stream" ] || exit 126
    from=$wal/$stream/$name$kind
    [ -e "$from" ] || continue
    bytes=$(wc -c <"$from") || exit 126
    case $name in *.history) ;; *) [ "$bytes" -ge 1048576 ] && [ $((bytes & (bytes - 1))) = 0 ] || continue ;; esac
    cp "$from" "$to.part" && mv "$to.part" "$to" && exit 0
    exit 126
  done
done
exit 1
END
echo prepared
"""

# WAL that never reached the repository is still in the damaged directory: it turns seconds of loss into none.
SALVAGE: Final = (
    WRITTEN
    + """
[ -d "$D/pg_wal" ] || { echo "there is no WAL in $D"; exit 0; }
umask 077
to=$R/wal/$STREAM
[ ! -d "$to" ] || { echo "already copied out of $D"; exit 0; }
rm -rf "$R"/wal/*Z.part && mkdir "$to.part" || refuse "$R cannot be written from this host"
for f in "$D"/pg_wal/????????????????????????; do
  name=${f##*/}
  [ -f "$f" ] && [ "$(expr "$name" : "[0-9A-F]*")" = 24 ] || continue
  expr "${name#????????}" ">=" "$FIRST" >/dev/null || continue
  written "$f" || continue
  cp -p "$f" "$to.part/" || exit 1
done
cp -p "$D"/pg_wal/*.history "$to.part/" 2>/dev/null
n=$(ls "$to.part" | wc -l)
if [ "$n" = 0 ]; then rmdir "$to.part"; else sync -f "$to.part"; mv -T "$to.part" "$to" || exit 1; fi
echo "$n files of WAL copied out of $D"
"""
)

REMOVE: Final = (
    """
[ -e "$D" ] || { rm -rf "$D.set" "$D".proof-* "$D.all" "$D.have"; exit 0; }
"""
    + FIND_PROCESSES
    + """
left=$(processes)
[ -z "$left" ] || { kill -KILL $left 2>/dev/null; sleep 0.2; }
[ -z "$(processes)" ] || refuse "a server cannot be ended in $D"
rm -rf "$D" "$D.set" "$D".proof-* "$D.all" "$D.have" && echo "removed $D"
"""
)
LOG_TAIL: Final = """
grep -E "FATAL|PANIC|ERROR|recovery stopping|redo done" "$D/salvor-start.log" | tail -n 3 |
  sed -E "s/^.*(LOG|FATAL|PANIC|ERROR):  //; s/ system usage:.*//"
"""

# Everything a decision needs of a place that a set might go to, in one round trip.
PLACE: Final = (
    """
echo "major: $("$B/postgres" --version 2>/dev/null | sed "s/[^0-9]*//; s/[^0-9].*//")"
held=$(du -sk "$INTO" 2>/dev/null | cut -f1); echo "held: $((${held:-0} * 1024))"
at=$(dirname "$D"); while [ ! -d "$at" ]; do at=$(dirname "$at"); done
df -Pk "$at" | awk 'NR == 2 { printf "free: %.0f\\n", $4 * 1024 }'
[ ! -r "$R/sets" ] || echo "repository: yes"
echo "restored: $(head -n 1 "$D/salvor-restored" 2>/dev/null)"
echo "chain: $(cat "$INTO.set" 2>/dev/null || tail -n 1 "$D/salvor-restored" 2>/dev/null)"
"""
    + LOOK
    + "exit 0  # a directory that pg_controldata cannot read is looked at as well\n"
)

# A server is asked about itself, so that the deep look costs no network; amcheck must be installed in the database.
AMCHECK: Final = """
IFS= read -r PGPASSWORD || :
[ -z "$PGPASSWORD" ] && unset PGPASSWORD || export PGPASSWORD
"$B/pg_amcheck" -h "$HOST" -p "$PORT" -U "$ROLE" --no-password -j 2 --heapallindexed $INSTALL $DATABASES 2>&1 |
  head -n 20
"""
