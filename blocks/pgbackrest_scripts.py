"""The shell that lets pgBackRest hold the files of a set. POSIX sh and GNU tools; R, I and INTO as in backup_scripts.

Of such a set `data` holds one small file, `label`: what pgBackRest calls it. Everything else that is known of a set,
and all WAL, lies in Salvor's own repository, as it does for every set.
"""

from __future__ import annotations

from typing import Final

# What it says goes to standard error, so that its answers can be read. Of several repositories the first one is meant.
PGBACKREST: Final = """
backrest() {
  missing=""
  command -v "$PROGRAM" >/dev/null || missing="there is no $PROGRAM on this host: install it"
  [ -n "$STANZA" ] || missing="pgBackRest holds this set, and the repository's block names no stanza"
  [ -z "$missing" ] || { echo "ERROR: $missing" >&2; return 1; }
  "$PROGRAM" --stanza="$STANZA" ${CONFIG:+"--config=$CONFIG"} --log-level-console=off \\
    --log-level-stderr="${LEVEL:-warn}" "$@" </dev/null
}
held() { backrest info --repo=1 --output=json; }
# Whether it holds LABEL. One that cannot be reached, or has lost its stanza, says nothing of a set.
known() {
  case $(held 2>/dev/null) in
    *"\\"label\\":\\"$LABEL\\""*) echo kept;;
    *'"status":{"code":0,'*) echo gone;;
    *) echo unread;;
  esac
}
complaint() {
  { echo "$1" | sed -n "s/^.*ERROR: *//p" | grep . || echo "$1" | grep . || echo "it failed without a word"; } |
    head -n 1
}
# Why nothing is known of LABEL.
nothing() { held 2>&1 | sed -n 's/^.*ERROR: *//p; s/^.*"message":"\\([^"]*\\)".*$/\\1/p' | head -n 1; }
"""

INFO: Final = PGBACKREST + "held\n"

# A stanza is made for the first set only: later it would be made anew where a disk is not mounted.
BACKUP: Final = (
    PGBACKREST
    + """
part=$R/sets/.$I.part
mkdir "$part" && mkdir "$part/data" || refuse "$part is already there: another backup takes this set"
ps -o pgid= -p $$ | tr -d " " >"$part/group" || exit 1
if [ -z "$(ls "$R"/sets/*/data/label 2>/dev/null)" ]; then
  said=$(backrest stanza-create 2>&1) || refuse "pgBackRest: $(complaint "$said")"
fi
said=$(backrest backup --repo=1 --type="$TYPE" --annotation="salvor=$I" --no-archive-check --no-expire-auto \\
  --start-fast 2>&1) || refuse "pgBackRest: $(complaint "$said")"
held
"""
)

MANIFEST: Final = """
manifest() { backrest repo-get --repo=1 "backup/$STANZA/$LABEL/backup.manifest"; }
"""

FINGERPRINT: Final = (
    PGBACKREST
    + MANIFEST
    + """
said=$(manifest 2>&1 >/dev/null) || refuse "pgBackRest: $(complaint "$said")"
manifest | sha256sum | cut -d" " -f1
"""
)

# `verify` reads every file and compares its checksum, and ends with 0 whatever it finds: what counts is what it prints.
# Up to 2.54 it knows no single set, and reads all that the repository holds.
VERIFY: Final = (
    PGBACKREST
    + MANIFEST
    + """
[ -f "$R/sets/$I/set.json" ] || refuse "there is no set $I in $R"
case $(known) in
  gone) echo "gone"; exit 0;;
  unread) refuse "the set $I could not be read: pgBackRest says $(nothing)";;
esac
LEVEL=info
one=""; if "$PROGRAM" help verify </dev/null 2>/dev/null | grep -q "^ *--set "; then one=--set=$LABEL; fi
backrest verify --repo=1 --output=text --verbose $one 2>&1
LEVEL=warn
if said=$(manifest 2>&1 >/dev/null); then said=$(manifest | sha256sum | cut -d" " -f1)
else said=$(complaint "$said"); fi
echo "manifest: $said"
echo "then: $(known)"
"""
)

GOOD: Final = """
set=$R/sets/$I
date -u +%Y-%m-%dT%H:%M:%SZ >"$set/verified.part" && mv "$set/verified.part" "$set/verified" && echo good
"""

# It refuses to let the only full set go, and lets whatever is built on a set go with it: neither is an error, the
# set is only gone from pgBackRest later.
FORGET: Final = (
    PGBACKREST
    + """
forget() {
  case $(held 2>/dev/null) in *"\\"label\\":\\"${LABEL}_"*) said="others are built on it"; return 1;; esac
  said=$(backrest expire --repo=1 --set="$LABEL" 2>&1); said=$(complaint "$said")
  case $(held 2>/dev/null) in
    *"\\"label\\":\\"$LABEL\\""*) return 1;;
    *'"status":{"code":0,'*|*'"status":{"code":2,'*) return 0;;
    *) return 1;;
  esac
}
"""
)

FORGET_ONE: Final = FORGET + 'forget && echo gone || refuse "pgBackRest keeps $LABEL for now: $said"\n'

# An attempt that was killed goes on: with --delta a file that has the right checksum stays, and every other one is
# copied again. It takes a folder without one of two files for somebody's. Only these exit codes speak of what it read:
# checksum, format, file missing, decryption; and only while the repository itself is still there.
RESTORE: Final = (
    PGBACKREST
    + """
set=${CHAIN##* }
case $(known) in
  gone) echo "bad $set pgBackRest holds $LABEL no longer"; exit 0;;
  unread) refuse "the set $set could not be read: pgBackRest says $(nothing)";;
esac
resumed=no; [ ! -e "$INTO" ] || resumed=yes
[ -e "$INTO/PG_VERSION" ] || [ -e "$INTO/backup.manifest" ] || rm -rf "$INTO"
mkdir -p -m 700 "$INTO" || exit 1
said=$(backrest restore --repo=1 --set="$LABEL" --delta --type=none --pg1-path="$INTO" --reset-pg1-host \\
  --spool-path="$INTO.spool" 2>&1); rc=$?
why=$(complaint "$said")
case $rc in
  0) ;;
  26|29|55|95)
    [ "$(known)" = kept ] && ! echo "$said" | grep -qE "$elsewhere" ||
      refuse "the set $set could not be read: $why"
    echo "bad $set $why"; exit 0;;
  *) refuse "pgBackRest could not restore $LABEL: $why";;
esac
[ -f "$INTO/global/pg_control" ] || refuse "pgBackRest restored $LABEL without its pg_control"
rm -f "$INTO/recovery.signal" && chmod 700 "$INTO" || exit 1
[ $resumed = no ] || echo "resumed"
exit 0
"""
)
