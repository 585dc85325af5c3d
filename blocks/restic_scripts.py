"""The shell that keeps files on a repository's host: restic, and what is kept by it. POSIX sh and GNU tools."""

from __future__ import annotations

from typing import Final

# Nothing secret stands on a command line: first the password, then the address, then what else the place asks for.
OPEN: Final = """
umask 077
[ -w "${TMPDIR:-/tmp}" ] || unset TMPDIR
command -v restic >/dev/null || refuse "there is no restic on the repository's host: install Debian's package restic"
IFS= read -r RESTIC_PASSWORD; IFS= read -r RESTIC_REPOSITORY
export RESTIC_PASSWORD RESTIC_REPOSITORY
while IFS= read -r pair && [ -n "$pair" ]; do export "$pair"; done
"""

# restic tries for most of a minute to write where it may not.
WRITABLE: Final = """
case $RESTIC_REPOSITORY in /*)
  [ ! -e "$RESTIC_REPOSITORY/config" ] || [ -w "$RESTIC_REPOSITORY/locks" ] ||
    refuse "the folder $RESTIC_REPOSITORY cannot be written: mount it so, or give it to $(id -un)"
esac
"""

# A file may go between the look at its folder and its turn: then once more. What lacks a file is no snapshot of a set.
KEEP: Final = """
cd "$INSIDE" || exit 1
for attempt in 1 2; do
  said=$(backup); rc=$?
  [ $rc -eq 3 ] || break
  forget $(echo "$said" | sed -n "s/^snapshot \\([0-9a-f]*\\) saved$/\\1/p") >&2
done
echo "$said"
exit $rc
"""

# It grows in a folder of its own and is moved up when it is whole: what a killed run has left is known by that.
RESTORE: Final = """
part=$INTO/.salvor-part
[ "$(cat "$INTO/.salvor-snapshot" 2>/dev/null)" != "$SNAPSHOT" ] || { echo "already there"; exit 0; }
mkdir -p "$INTO" || refuse "$INTO cannot be written"
if [ "$(cat "$part.whole" 2>/dev/null)" != "$SNAPSHOT" ]; then
  [ -z "$(ls -A "$INTO" | grep -v "^[.]salvor-part")" ] || refuse "$INTO is not empty: give a new folder"
  rm -rf "$part" && mkdir "$part" || exit 1
  restore || exit
  echo "$SNAPSHOT" >"$part.whole.new" && mv "$part.whole.new" "$part.whole" || exit 1
fi
find "$part" -mindepth 1 -maxdepth 1 -exec mv -t "$INTO" -- {} + && rmdir "$part" &&
  mv "$part.whole" "$INTO/.salvor-snapshot" && echo restored
"""

# Of a path that is a link, what it leads to is kept as well: restic would keep the link alone.
FINGERPRINTS: Final = """
for path; do
  shift
  [ -e "$path" ] || { printf 'absent %s\\0' "$path"; continue; }
  set -- "$@" "$path"
  [ ! -L "$path" ] || set -- "$@" "$(readlink -f "$path")"
done
[ $# -gt 0 ] || exit 0
printf 'path %s\\0' "$@"
find "$@" -type f -printf 'file %m %s %p\\0' && find "$@" -type f -exec sha256sum -z -- {} +
"""

DROP: Final = 'rm -rf -- "${INTO%/*}"\n'

MODES: Final = "xargs -0 -r -n 2 chmod --\n"

# One line for each path of standard input.
CONTENTS: Final = "xargs -0 -r -n 1 sh -c 'base64 -w 0 -- \"$0\" && echo'\n"

# redis-cli takes the place of a replica, so it needs no file of the server; what arrived is proven by another program.
REDIS_DUMP: Final = """
umask 077
command -v redis-cli >/dev/null || refuse "there is no redis-cli on the repository's host: install Debian's redis-tools"
IFS= read -r REDISCLI_AUTH
[ -z "$REDISCLI_AUTH" ] && unset REDISCLI_AUTH || export REDISCLI_AUTH
mkdir -p "${INTO%/*}" && rm -f "$INTO" || exit 1
redis-cli -h "$HOST" -p "$PORT" ${ROLE:+--user "$ROLE"} $TLS --rdb "$INTO" >&2 || exit
"""
REDIS_COUNT: Final = """
said=$(redis-check-rdb "$INTO" 2>&1) || refuse "the dump of Redis is damaged: $(echo "$said" | tail -n 1)"
echo "$said" | sed -n "s/^.info. \\([0-9]*\\) keys read$/keys: \\1/p"
"""

# A server with `appendonly yes` ignores an RDB that stands alone, and begins empty without a word. As the base of an
# append-only file it is read by that one too.
REDIS_LAY: Final = """
umask 077
cd "$INTO" && mkdir -p appendonlydir && ln -f dump.rdb appendonlydir/appendonly.aof.1.base.rdb &&
  echo "file appendonly.aof.1.base.rdb seq 1 type b" >appendonlydir/appendonly.aof.manifest &&
  printf 'dir "%s"\\ndbfilename dump.rdb\\nappendonly no\\n' "$INTO" >redis.conf
"""
