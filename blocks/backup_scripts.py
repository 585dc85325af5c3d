"""The shell that runs on a repository's host: keep a set, look, prove, expire, stream WAL. POSIX sh and GNU tools.

R is the directory of the repository, B that of the binaries. What is in the repository:

    system                        which cluster this is
    frozen                        why nothing may be expired now
    sets/<id>/set.json            a whole set; written last, so what has none is none
    sets/<id>/facts.json          what was counted; apart, because it is most of what is known of thousands of sets
    sets/<id>/{data,nodes}        what was kept;  bad, verified, offsite, in-use/<run>: what was found since
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
  echo "$SYSTEM" >"$R/system.part" && sync "$R/system.part" && mv "$R/system.part" "$R/system" || exit 1
elif [ "$known" != "$SYSTEM" ]; then
  refuse "$R holds the backups of another cluster ($known): give this one ($SYSTEM) a directory of its own"
fi
touch "$R/.writable" && rm "$R/.writable" || refuse "the repository $R cannot be written"
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
mkdir "$part" || refuse "$part is already there: another backup takes this set"
ps -o pgid= -p $$ | tr -d " " >"$part/group" || exit 1
"$B/pg_basebackup" -d "$FROM" -D "$part/data" -c fast -X stream --no-password \
  ${PARENT:+-i "$R/sets/$PARENT/data/backup_manifest"} >&2 || exit
"$B/pg_controldata" "$part/data"
echo "bytes: $(du -sk "$part/data" | awk '{ printf "%.0f", $1 * 1024 }')"
echo "manifest: $(sha256sum <"$part/data/backup_manifest" | cut -d" " -f1)"
echo "ranges: $(sed -n '/^"WAL-Ranges"/,/^\\]/p' "$part/data/backup_manifest" | tr -d '\\n')"
"""
)

# One file of a set that grows, from standard input; counted, for a connection that breaks looks like its end. What was
# cleared away in the meantime does not come back as a set of one file.
PUT: Final = """
umask 077
part=$R/sets/.$I.part; at=$part/$NAME
[ -f "$part/data/backup_manifest" ] || refuse "the set $I that grew is gone: somebody else has cleared it away"
mkdir -p "$(dirname "$at")" && cat >"$at" || exit 1
[ "$(wc -c <"$at")" -eq "$BYTES" ] || refuse "$NAME did not arrive whole"
"""

COMMIT: Final = (
    PUT
    + """
rm -f "$part/group"
sync -f "$part" && mv -T "$part" "$R/sets/$I" && sync "$R/sets" && echo kept
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

OFFSITE: Final = 'umask 077; echo "$WHERE" >"$R/sets/$I/offsite"\n'

# Of each small file of a set a line such as sets/<id>/verified:2026-11-29T14:05:00Z, whoever restores from it as
# sets/<id>/in-use/<run>; of everything else a word and what it is. There may be tens of thousands of lines.
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
set -- sets/*/set.json
[ ! -e "$1" ] || printf "%s\\n" "$@"
printf "%s\\0" "$@" sets/*/bad sets/*/verified sets/*/offsite | xargs -0 grep -aHs ""
[ -z "$FACTS_OF" ] || grep -aHs "" "sets/$FACTS_OF/facts.json"
ls -d sets/*/in-use/* 2>/dev/null
find wal -mindepth 2 -maxdepth 2 -type f -size "${SEGMENT}c" -regex ".*/[0-9A-F]*\\(.partial\\)?" -printf "wal %f\\n"
find wal -mindepth 2 -maxdepth 2 -name "*.history" | while IFS= read -r f; do
  t=${f##*/}; echo "history ${t%.history} $(grep "^[0-9]" "$f" | tail -n 1)"
done
if [ -f wal/receiver ]; then
  newest=$(find wal -mindepth 2 -maxdepth 2 -type f -printf "%T@\\n" | sort -n | tail -n 1)
  pid=$(cat wal/receiver); alive=no
  # Without a connection it only waits for the primary to come back, and other processes get old numbers.
  ! tr '\\000' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "$R/wal/" ||
    ! ls -l "/proc/$pid/fd" 2>/dev/null | grep -q socket: || alive=yes
  now=$(date +%s); newest=${newest%.*}
  echo "receiver $alive $((now - ${newest:-$now})) $(tail -n 1 wal/receiver.log 2>/dev/null)"
fi
"""

# Every file of one timeline under its own name, whichever stream has it; a whole one goes before a part of it. What a
# full disk has cut off is no file of WAL: PostgreSQL itself takes none that is not of full size.
FARM: Final = """
farm=$(mktemp -d /tmp/salvor-wal.XXXXXX) || exit 1
trap 'rm -rf "$farm"' EXIT
newest() {
  find "$R/wal" -mindepth 2 -maxdepth 2 -type f -size "${SEGMENT}c" -name "$1" -printf "%f %h\\n" |
    sort -k1,1 -k2,2r | awk -v first="$FIRST" -v below="$BELOW" \
    '!seen[$1]++ && substr($1, 1, 24) >= first && (below == "" || substr($1, 1, 24) < below) { print $2 "/" $1 }'
}
newest "$T????????????????" | xargs -r -d "\\n" ln -s -t "$farm"
newest "$T????????????????.partial" | while IFS= read -r f; do
  name=${f##*/}; [ -e "$farm/${name%.partial}" ] || ln -s "$f" "$farm/${name%.partial}"
done
"""

# pg_waldump compares the checksum of every record, and says where it could not go on. It is told to stop before the
# first hole, for it waits 5 s for a file that is not there. The last record and the last commit before the place where
# reading ended are looked for backwards: the newest file may hold neither.
PROVE: Final = (
    FARM
    + """
TZ=UTC; export TZ
last=$(ls "$farm" | tail -n 1)
[ -n "$last" ] || refuse "there is no WAL of timeline $T from $START on"
echo "last $last"
lsn() { printf "%X/%X" $(($1 >> 32)) $(($1 & 0xFFFFFFFF)); }
bytes() { high=${1%/*}; low=${1#*/}; echo $(((0x$high << 32) + 0x$low)); }
name() { printf "%s%08X%08X" "$T" $(($1 >> 32)) $((($1 & 0xFFFFFFFF) / SEGMENT)); }
whole=$(ls "$farm" | awk -v from="$FIRST" -v segment="$SEGMENT" '
  function hex(text, i, n) {
    for (i = 1; i <= length(text); i++) n = n * 16 + index("0123456789ABCDEF", substr(text, i, 1)) - 1
    return n
  }
  function at(name) { return hex(substr(name, 9, 8)) * 4294967296 + hex(substr(name, 17, 8)) * segment }
  BEGIN { next_one = at(from) }
  at($1) == next_one { next_one += segment; next }
  { exit }
  END { printf "%.0f", next_one }')
beyond=$(name "$whole"); goal=$(bytes "${END:-$(lsn "$whole")}")
[ "$goal" -le "$whole" ] || goal=$whole
said=""
if [ "$beyond" != "$FIRST" ]; then
  said=$("$B/pg_waldump" -q -p "$farm" -t "$((0x$T))" -s "$START" -e "$(lsn "$goal")" 2>&1) && said=""
fi
short=""
if [ -n "$END" ]; then [ "$(bytes "$END")" -le "$whole" ] || short=yes
else [ "$(printf "%s\\n%s\\n" "$last" "$beyond" | sort | head -n 1)" = "$last" ] || short=yes; fi
[ -n "$said" ] || [ -z "$short" ] || said="could not find file \\"$beyond\\""
[ -z "$said" ] || { said=$(echo "$said" | tail -n 1); echo "said $said"; }
stop=$(echo "$said" | sed -n 's,.*error in WAL record at .* \\(at\\|LSN\\) \\([0-9A-F]*/[0-9A-F]*\\).*,\\2,p')
stop=${stop:-$(lsn "$goal")}; most=$(name "$(($(bytes "$stop") - 1))")
first=$(ls "$farm" | head -n 1); later=""
dump() {
  [ "$file" != "$first" ] || set -- -s "$START" "$@"
  [ "${later:-$file}" != "$most" ] || set -- -e "$stop" "$@"
  "$B/pg_waldump" -p "$farm" -t "$((0x$T))" "$@" "$file" ${later:+"$later"} 2>/dev/null
}
# Two files at a time, for a record may begin in the one and end in the other.
for file in $(ls -r "$farm" | awk -v most="$most" 'substr($1, 1) <= most'); do
  [ -n "${record:-}" ] || record=$(dump | tail -n 1)
  [ -n "${commit:-}" ] || commit=$(dump -r Transaction | grep "desc: COMMIT" | tail -n 1)
  [ -z "${record:-}" ] || [ -z "${commit:-}" ] || break
  later=$file
done
echo "record ${record:-}"
echo "commit ${commit:-}"
"""
)

# Pages of this very file behind the place where reading ended, beyond a record that was cut off: then it is no natural
# end. A file that was written over an old one has pages of that one behind its end; they say so themselves.
BEHIND: Final = (
    FARM
    + """
file=$farm/$NAME
length=$(od -An -tu4 -j"$OFFSET" -N4 "$file" | tr -d " ")
[ "${length:-0}" -le 1048576 ] || length=0
page=$(((OFFSET + length + length / 100 + 8191) / 8192)); most=$((page + 8))
while [ $page -lt $most ] && [ $((page * 8192)) -lt $SEGMENT ]; do
  [ "$(od -An -tu8 -j$((page * 8192 + 8)) -N8 "$file" | tr -d " ")" != $((BASE + page * 8192)) ] ||
    { echo behind; exit 0; }
  page=$((page + 1))
done
"""
)

# Only a set that is there gets a mark: a folder that is made for the mark alone would be in the way of the set itself.
USE: Final = """
for set in $SETS; do
  at=$R/sets/$set
  { [ -d "$at/in-use" ] || mkdir "$at/in-use" || [ -d "$at/in-use" ]; } 2>/dev/null &&
    : >"$at/in-use/$RUN" && [ -f "$at/set.json" ] || refuse "the set $set is no longer there"
done
"""
UNUSE: Final = 'rm -f "$R"/sets/*/in-use/"$RUN"\n'

FREEZE: Final = 'umask 077; echo "$WHY" >"$R/frozen.part" && mv "$R/frozen.part" "$R/frozen" && echo frozen\n'
THAW: Final = 'rm -f "$R/frozen"\n'

# The newest member of a chain goes first, and a set disappears by one rename: killed anywhere, what is left is whole.
# A set that stays, because a run has come to restore from it, keeps all WAL: it was not counted on.
EXPIRE: Final = """
[ ! -f "$R/frozen" ] || refuse "nothing may be expired now: $(head -n 1 "$R/frozen")"
stays() { FIRST=""; echo "kept $set: a run restores from it"; }
for set in $SETS; do
  [ -d "$R/sets/$set" ] || continue
  [ -z "$(ls -A "$R/sets/$set/in-use" 2>/dev/null)" ] || { stays; continue; }
  mv -T "$R/sets/$set" "$R/sets/.$set.expired" || exit 1
  if [ -n "$(ls -A "$R/sets/.$set.expired/in-use" 2>/dev/null)" ]; then
    mv -T "$R/sets/.$set.expired" "$R/sets/$set" || exit 1
    stays; continue
  fi
  echo "expired $set"
done
rm -rf "$R"/sets/.*.expired
gone=$([ -z "$FIRST" ] || find "$R/wal" -mindepth 2 -maxdepth 2 -type f -regex ".*/[0-9A-F]*\\(.partial\\)?" |
  awk -F/ -v first="$FIRST" 'length($NF) >= 24 && substr($NF, 9, 16) < first')
echo "$gone" | xargs -r -d "\\n" rm -f && echo "$(echo "$gone" | grep -c .) files of WAL removed"
"""

# One process per repository, started by whoever comes first; the lock goes with it. It outlives us: an archive that
# stops when its supervisor restarts would be no archive.
STREAM: Final = (
    OPEN
    + LOGIN
    + """
cd "$R/wal" || exit 1
mine() { kill -0 "$1" 2>/dev/null && tr '\\000' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q "$R/wal/"; }
# A file that a full disk has cut off while it was made, and that holds nothing yet, would stop the stream for ever.
clear_short() {
  find . -mindepth 2 -maxdepth 2 -name "*.partial" ! -size "${SEGMENT}c" | while IFS= read -r f; do
    [ -n "$(tr -d '\\000' <"$f" | head -c 1 | od -An -tx1)" ] || rm -f "$f"
  done
}
old=$(cat receiver 2>/dev/null)
if [ -n "$old" ] && mine "$old"; then
  ls -l "/proc/$old/fd" | grep -q socket: || clear_short
  [ "$ANEW" = yes ] || { echo "already streaming"; exit 0; }
  kill -TERM "$old"
  i=0; while mine "$old" && [ $i -lt 100 ]; do sleep 0.05; i=$((i + 1)); done
  ! mine "$old" || kill -KILL "$old"
fi
clear_short
stream=$(ls -d [0-9]*Z 2>/dev/null | tail -n 1)
[ "$ANEW" = no ] && [ -n "$stream" ] || { stream=$(date -u +%Y%m%dT%H%M%SZ); [ ! -d "$stream" ] || sleep 1
  stream=$(date -u +%Y%m%dT%H%M%SZ); mkdir "$stream" || exit 1; }
setsid nohup "$B/pg_receivewal" -d "$FROM" -D "$R/wal/$stream" -S "$SLOT" --synchronous --no-password \
  </dev/null >receiver.log 2>&1 &
echo $! >receiver.part && mv receiver.part receiver && echo "streaming into $stream"
"""
)

UNSTREAM: Final = """
old=$(cat "$R/wal/receiver" 2>/dev/null) || exit 0
tr '\\000' ' ' <"/proc/$old/cmdline" 2>/dev/null | grep -q "$R/wal/" && kill -TERM "$old"
rm -f "$R/wal/receiver"
"""
