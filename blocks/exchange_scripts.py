"""The shell that lets a restored copy and the old data directory change places. INTO and D as in restore_scripts."""

from __future__ import annotations

from typing import Final

from blocks.node_scripts import FIND_PROCESSES

# Old and new change places by two renames; killed between the two the directory is missing, and the next run goes on.
EXCHANGE: Final = (
    """
if [ "$(head -n 1 "$D/salvor-restored" 2>/dev/null)" = "$STAMP" ]; then echo "already in its place"; exit 0; fi
[ -f "$INTO/recovery.signal" ] || refuse "the restore in $INTO is not finished"
if [ -e "$D" ]; then
"""
    + FIND_PROCESSES
    + """
  [ -z "$(processes)" ] || refuse "a server is still running in $D"
  mv -T "$D" "$D.damaged-$STAMP" || refuse "$D cannot be renamed: it must be no mount point, and its folder writable"
  echo "the old directory is kept as $D.damaged-$STAMP"
fi
{ echo "$STAMP"; cat "$INTO.set"; } >"$INTO/salvor-restored" || exit 1
mv -T "$INTO" "$D" && rm -f "$INTO.set" && echo "restored into $D"
"""
)

MINE: Final = """
mine() { [ "$(head -n 1 "$D/salvor-restored" 2>/dev/null)" = "$STAMP" ]; }
"""

# From now on there are rows in it that the old directory does not have: the two no longer change places.
ADMIT: Final = (
    MINE
    + """
mine || refuse "$D is not what was restored"
grep -qx admitted "$D/salvor-restored" || sed -i "1a admitted" "$D/salvor-restored"
"""
)

UNEXCHANGE: Final = (
    MINE
    + """
[ -e "$D.damaged-$STAMP" ] || mine || { echo "nothing had changed places"; exit 0; }
! mine || ! grep -qx admitted "$D/salvor-restored" ||
  refuse "clients were let into $D by an earlier run, so it stays where it is: start it, or find out why it does not"
if [ -e "$D" ]; then
"""
    + FIND_PROCESSES
    + """
  [ -z "$(processes)" ] || refuse "a server is still running in $D"
  # There was no old directory: left here, the copy would be taken for a server that is only down.
  if [ ! -e "$D.damaged-$STAMP" ]; then
    tail -n 1 "$D/salvor-restored" >"$INTO.set" && mv -T "$D" "$INTO" && echo "the copy lies beside $D again"
    exit
  fi
  rm -rf "$D.not-taken" && mv -T "$D" "$D.not-taken" || exit 1
fi
mv -T "$D.damaged-$STAMP" "$D" && echo "the old directory is back as $D"
"""
)
