"""The shell that holds sets, and lets them go; see backup_scripts for what is where."""

from __future__ import annotations

from typing import Final

from blocks.pgbackrest_scripts import FORGET

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
EXPIRE: Final = (
    FORGET
    + """
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
for set in $(ls -dr "$R"/sets/.*.expired 2>/dev/null); do
  LABEL=$(cat "$set/data/label" 2>/dev/null)
  if [ -z "$LABEL" ] || forget; then rm -rf "$set"; else echo "pgBackRest keeps $LABEL for now: $said"; fi
done
gone=$([ -z "$FIRST" ] || find "$R/wal" -mindepth 2 -maxdepth 2 -type f -regex ".*/[0-9A-F]*\\(.partial\\)?" |
  awk -F/ -v first="$FIRST" 'length($NF) >= 24 && substr($NF, 9, 16) < first')
echo "$gone" | xargs -r -d "\\n" rm -f && echo "$(echo "$gone" | grep -c .) files of WAL removed"
"""
)
