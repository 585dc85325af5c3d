"""The shell that runs on a repository's host: keep a set, look, prove, expire. POSIX sh and GNU tools.

R is the directory of the repository, B that of the binaries. What is in the repository:

    system                        which cluster this is
    frozen                        why nothing may be expired now
    sets/<id>/set.json            a whole set; written last, so what has none is none
    sets/<id>/facts.json          what was counted; apart, because it is most of what is known of thousands of sets
    sets/<id>/data                the files, or the label of what pgBackRest holds
    sets/<id>/nodes               each one's configuration;  bad, verified, offsite, in-use/<run>: found since
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
END: Final = """
for part in "$R"/sets/.*.part; do
  [ -d "$part" ] || continue
  name=${part##*/.}; name=${name%.part}
  group=$(cat "$part/group" 2>/dev/null)
  for p in $(ps -o pid= -g "${group:-none}" 2>/dev/null); do
    case $(tr '\\000' ' ' 2>/dev/null <"/proc/$p/cmdline") in *"$part"*|*"salvor=$name"*) kill -KILL "$p";; esac
  done
done
"""
PARTS: Final = 'ls -d "$R"/sets/.*.part 2>/dev/null | sed "s,.*/,,"\n'
CLEAR: Final = """
for part in "$R"/sets/.*.part; do
  [ -d "$part" ] || continue
  case " $SPARE " in *" ${part##*/} "*) continue;; esac
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
[ -d "$part/data" ] || refuse "the set $I that grew is gone: somebody else has cleared it away"
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

# What says nothing of a set, but of whoever wanted to read it: no set is condemned for that.
ELSEWHERE: Final = """
elsewhere="Permission denied|Stale file handle|Too many open files|Cannot allocate memory|is needed by"
"""

VERIFY: Final = (
    ELSEWHERE
    + """
set=$R/sets/$I
[ -f "$set/set.json" ] || refuse "there is no set $I in $R"
[ ! -f "$set/data/label" ] || refuse "pgBackRest holds the set $I: name its stanza in the repository's block"
said=$("$B/pg_verifybackup" "$set/data" 2>&1); rc=$?
if [ $rc -gt 1 ] || echo "$said" | grep -qE "$elsewhere"; then
  refuse "the set $I could not be read: $(echo "$said" | head -n 1)"
fi
found=$(sha256sum <"$set/data/backup_manifest" | cut -d" " -f1)
if [ "$found" != "$MANIFEST" ]; then said="its manifest is not the one that was written"
elif [ "$said" = "backup successfully verified" ]; then said=""
else said=$(echo "$said" | head -n 1); : "${said:=pg_verifybackup failed without a word}"; fi
if [ -n "$said" ]; then rm -f "$set/verified"; echo "$said" >"$set/bad"; echo "bad: $said"
else date -u +%Y-%m-%dT%H:%M:%SZ >"$set/verified.part" && mv "$set/verified.part" "$set/verified" && echo good; fi
"""
)

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
set -- -mindepth 2 -maxdepth 2 -type f ! -path "*Z.part/*"
find wal "$@" -size "${SEGMENT}c" -regex ".*/[0-9A-F]*\\(.partial\\)?" -printf "wal %f\\n"
find wal "$@" -name "*.history" | while IFS= read -r f; do
  t=${f##*/}; echo "history ${t%.history} $(grep "^[0-9]" "$f" | tail -n 1)"
done
if [ -f wal/receiver ]; then
  newest=$(find wal "$@" -printf "%T@\\n" | sort -n | tail -n 1)
  pid=$(cat wal/receiver); alive=no
  # Without a connection it only waits for the primary to come back, and other processes get old numbers.
  ! tr '\\000' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "$R/wal/" ||
    ! ls -l "/proc/$pid/fd" 2>/dev/null | grep -q socket: || alive=yes
  now=$(date +%s); newest=${newest%.*}
  echo "receiver $alive $((now - ${newest:-$now})) $(tail -n 1 wal/receiver.log 2>/dev/null)"
fi
"""
