"""The shell that runs on a repository's host: keep a set, look, prove, expire. POSIX sh and GNU tools.

R is the directory of the repository, B that of the binaries. What is in the repository:

    system                        which cluster this is
    frozen                        why nothing may be expired now
    sets/<id>/set.json            a whole set; written last, so what has none is none
    sets/<id>/{data,nodes,files,redis}   what was kept;  bad, verified, in-use/<run>: what was found since
    sets/.<id>.part/              a set that grows, or was left behind by a run that died
    wal/<stream>/                 WAL; every stream began with an empty folder, so that none can spoil another
"""

from __future__ import annotations

from typing import Final

LOGIN: Final = """
IFS= read -r PGPASSWORD || :
[ -z "$PGPASSWORD" ] && unset PGPASSWORD || export PGPASSWORD
"""

# A repository belongs to one cluster: two of them in one place would be restored into each other.
OPEN: Final = """
umask 077
mkdir -p "$R/sets" "$R/wal" || refuse "the repository $R cannot be written: mount it, or give it to $(id -un)"
known=$(cat "$R/system" 2>/dev/null)
if [ -z "$known" ]; then
  part=$R/system.part.$$
  echo "$SYSTEM" >"$part" && sync "$part" && mv "$part" "$R/system" || exit 1
elif [ "$known" != "$SYSTEM" ]; then
  refuse "$R holds the backups of another cluster ($known): give this one ($SYSTEM) a directory of its own"
fi
touch "$R/.writable.$$" && rm "$R/.writable.$$" || refuse "the repository $R cannot be written"
"""

# What a run that died has left is ended by its process group and removed: the lease says that nobody else is at work.
CLEAR: Final = """
for part in "$R"/sets/.*.part; do
  [ -d "$part" ] || continue
  group=$(cat "$part/group" 2>/dev/null)
  for p in $(ps -o pid= -g "${group:-none}" 2>/dev/null); do
    case $(tr '\\000' ' ' 2>/dev/null <"/proc/$p/cmdline") in *"$part"*) kill -KILL "$p";; esac
  done
  rm -rf "$part" && echo "removed ${part##*/}"
done
"""

BASEBACKUP: Final = (
    OPEN
    + LOGIN
    + """
part=$R/sets/.$I.part
mkdir -p "$part" && ps -o pgid= -p $$ | tr -d " " >"$part/group" || exit 1
"$B/pg_basebackup" -d "$FROM" -D "$part/data" -c fast -X stream --no-password \
  ${PARENT:+-i "$R/sets/$PARENT/data/backup_manifest"} >&2 || exit
"$B/pg_controldata" "$part/data"
echo "bytes: $(du -sk "$part/data" | awk '{ printf "%.0f", $1 * 1024 }')"
echo "manifest: $(sha256sum <"$part/data/backup_manifest" | cut -d" " -f1)"
echo "ranges: $(sed -n '/^"WAL-Ranges"/,/^\\]/p' "$part/data/backup_manifest" | tr -d '\\n')"
"""
)

# One file of a set that grows, from standard input; counted, for a connection that breaks looks like its end.
PUT: Final = """
umask 077
at=$R/sets/.$I.part/$NAME
mkdir -p "$(dirname "$at")" && cat >"$at" || exit 1
[ "$(wc -c <"$at")" -eq "$BYTES" ] || refuse "$NAME did not arrive whole"
"""

COMMIT: Final = (
    PUT
    + """
part=$R/sets/.$I.part
rm -f "$part/group"
sync -f "$part" && mv "$part" "$R/sets/$I" && sync "$R/sets" && echo kept
"""
)

VERIFY: Final = """
set=$R/sets/$I
[ -f "$set/set.json" ] || refuse "there is no set $I in $R"
found=$(sha256sum <"$set/data/backup_manifest" | cut -d" " -f1)
if [ "$found" != "$MANIFEST" ]; then said="its manifest is not the one that was written"
elif said=$("$B/pg_verifybackup" "$set/data" 2>&1) && [ "$said" = "backup successfully verified" ]; then said=""
else said=$(echo "$said" | head -n 1); : "${said:=pg_verifybackup failed without a word}"; fi
if [ -n "$said" ]; then rm -f "$set/verified"; echo "$said" >"$set/bad"; echo "bad: $said"
else date -u +%Y-%m-%dT%H:%M:%SZ >"$set/verified.part" && mv "$set/verified.part" "$set/verified" && echo good; fi
"""

CONDEMN: Final = 'echo "$WHY" >"$R/sets/$I/bad" && rm -f "$R/sets/$I/verified"\n'

LIST: Final = """
if [ ! -e "$R" ] && [ -w "$(dirname "$R")" ]; then
  echo "writable"; df -Pk "$(dirname "$R")" | awk 'NR == 2 { printf "free %.0f\\n", $4 * 1024 }'; exit 0
fi
[ -d "$R" ] && ls "$R" >/dev/null || refuse "the repository $R cannot be read: mount it, or correct directory"
if [ -w "$R/sets" ] || { [ ! -e "$R/sets" ] && [ -w "$R" ]; }; then echo "writable"; fi
echo "system $(cat "$R/system" 2>/dev/null)"
[ ! -f "$R/frozen" ] || echo "frozen $(head -n 1 "$R/frozen")"
df -Pk "$R" | awk 'NR == 2 { printf "free %.0f\\n", $4 * 1024 }'
cd "$R" && [ -d sets ] || exit 0
find sets -mindepth 2 -maxdepth 2 -name set.json -not -path "sets/.*" -exec sed "s/^/set /" {} +
find sets -mindepth 2 -maxdepth 2 -name bad -exec grep -H "" {} + | sed "s,^sets/,bad ,; s,/bad:, ,"
find sets -mindepth 2 -maxdepth 2 -name verified -exec grep -H "" {} + | sed "s,^sets/,verified ,; s,/verified:, ,"
find sets -mindepth 3 -maxdepth 3 -path "*/in-use/*" | sed "s,^sets/,use ,; s,/in-use/, ,"
find wal -mindepth 2 -maxdepth 2 -type f -regex ".*/[0-9A-F]*\\(.partial\\)?" -printf "wal %f\\n"
find wal -mindepth 2 -maxdepth 2 -name "*.history" | while IFS= read -r f; do
  t=${f##*/}; echo "history ${t%.history} $(grep "^[0-9]" "$f" | tail -n 1)"
done
if [ -f wal/receiver ]; then
  newest=$(find wal -mindepth 2 -maxdepth 2 -type f -printf "%T@\\n" | sort -n | tail -n 1)
  kill -0 "$(cat wal/receiver)" 2>/dev/null && alive=yes || alive=no
  echo "receiver $alive $(($(date +%s) - ${newest%.*})) $(tail -n 1 wal/receiver.log 2>/dev/null)"
fi
"""

# Every file of one timeline under its own name, whichever stream has it; a whole one goes before a part of it.
FARM: Final = """
farm=$(mktemp -d /tmp/salvor-wal.XXXXXX) || exit 1
trap 'rm -rf "$farm"' EXIT
newest() { find "$R/wal" -mindepth 2 -maxdepth 2 -type f -name "$1" -printf "%f %h\\n" | sort -k1,1 -k2,2r |
  awk -v first="$FIRST" -v below="$BELOW" \
    '!seen[$1]++ && substr($1, 1, 24) >= first && (below == "" || substr($1, 1, 24) < below) { print $2 "/" $1 }'
}
newest "$T????????????????" | xargs -r -d "\\n" ln -s -t "$farm"
newest "$T????????????????.partial" | while IFS= read -r f; do
  name=${f##*/}; [ -e "$farm/${name%.partial}" ] || ln -s "$f" "$farm/${name%.partial}"
done
"""

# pg_waldump compares the checksum of every record, and says where it could not go on.
PROVE: Final = (
    FARM
    + """
TZ=UTC; export TZ
last=$(ls "$farm" | tail -n 1)
[ -n "$last" ] || refuse "there is no WAL of timeline $T from $START on"
echo "last $last"
said=$("$B/pg_waldump" -q -p "$farm" -t "$((0x$T))" -s "$START" ${END:+-e "$END"} 2>&1) || echo "said $said"
[ -z "$END" ] || exit 0
# The last record, and the last commit, are looked for backwards: the newest file may hold neither.
first=$(ls "$farm" | head -n 1)
dump() {
  if [ "$file" = "$first" ]; then "$B/pg_waldump" -p "$farm" -t "$((0x$T))" -s "$START" "$@"
  else "$B/pg_waldump" -p "$farm" "$@" "$file"; fi 2>/dev/null
}
for file in $(ls -r "$farm" | head -n 3); do
  [ -n "${record:-}" ] || record=$(dump | tail -n 1)
  [ -n "${commit:-}" ] || commit=$(dump -r Transaction | grep "desc: COMMIT" | tail -n 1)
done
echo "record ${record:-}"
echo "commit ${commit:-}"
"""
)

# Written bytes behind the place where reading ended, beyond a record that was cut off: then it is no natural end.
BEHIND: Final = (
    FARM
    + """
file=$farm/$NAME
length=$(od -An -tu4 -j"$OFFSET" -N4 "$file" | tr -d " ")
[ "${length:-0}" -le 1048576 ] || length=0
tail -c "+$((OFFSET + length + length / 100 + 8192))" "$file" | tr -d "\\000" | head -c 1 | wc -c
"""
)

USE: Final = """
for set in $SETS; do
  mkdir -p "$R/sets/$set/in-use" && : >"$R/sets/$set/in-use/$RUN" && [ -f "$R/sets/$set/set.json" ] ||
    refuse "the set $set is no longer there"
done
"""
UNUSE: Final = 'rm -f "$R"/sets/*/in-use/"$RUN"\n'

FREEZE: Final = 'umask 077; echo "$WHY" >"$R/frozen.part" && mv "$R/frozen.part" "$R/frozen" && echo frozen\n'
THAW: Final = 'rm -f "$R/frozen"\n'

# The newest member of a chain goes first, and a set disappears by one rename: killed anywhere, what is left is whole.
EXPIRE: Final = """
[ ! -f "$R/frozen" ] || refuse "nothing may be expired now: $(head -n 1 "$R/frozen")"
for set in $SETS; do
  [ -d "$R/sets/$set" ] || continue
  [ -z "$(ls -A "$R/sets/$set/in-use" 2>/dev/null)" ] || { echo "kept $set: a run restores from it"; continue; }
  mv "$R/sets/$set" "$R/sets/.$set.expired" || exit 1
  if [ -n "$(ls -A "$R/sets/.$set.expired/in-use" 2>/dev/null)" ]; then
    mv "$R/sets/.$set.expired" "$R/sets/$set"; echo "kept $set: a run restores from it"; continue
  fi
  echo "expired $set"
done
rm -rf "$R"/sets/.*.expired
[ -n "$FIRST" ] || exit 0
find "$R/wal" -mindepth 2 -maxdepth 2 -type f -regex ".*/[0-9A-F]*\\(.partial\\)?" |
  awk -F/ -v first="$FIRST" 'length($NF) >= 24 && substr($NF, 9, 16) < first' | tee /dev/stderr |
  xargs -r -d "\\n" rm -f
"""
