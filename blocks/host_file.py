"""Read and replace a small text file on a host: whole or not at all, with its mode and owner kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from blocks.errors import Misconfigured, SalvorError, Transient
from blocks.node_command import Completed
from blocks.node_control import NodeControl
from blocks.node_scripts import script

_MISSING: Final = 66
_CHANGED: Final = 75

# readlink: the file a link points to is replaced, not the link.
_FIND: Final = """
real=$F
[ ! -L "$F" ] || real=$(readlink -f "$F")
[ -f "$real" ] || { echo "there is no file $F" >&2; exit 66; }
"""
_READ: Final = _FIND + 'cat "$real"\n'
# First the text, then the marks: a text that is seen new without a mark has been dealt with.
_READ_MARKED: Final = (
    _FIND
    + """
cat "$real" || exit
set -- "$MARKS"*
[ ! -e "$1" ] && printf "\\n" || printf "\\nmarked"
"""
)
# Marked before it is replaced: a mark too many costs a restart, a mark that is missing costs the application.
_REPLACE: Final = (
    _FIND
    + """
new=${real%/*}/.salvor.$$
[ ! -e "$new" ] && [ ! -L "$new" ] || refuse "$new is in the way"
trap 'rm -f "$new" ${KEEP:+"$KEEP.part"}' EXIT
cp -a "$real" "$new" || refuse "$(id -un) cannot read $real, or cannot write beside it"
[ -z "$SUM" ] || case $(sha256sum <"$new") in "$SUM "*) ;; *) exit 75;; esac
dd of="$new" conv=fsync 2>/dev/null || refuse "$new could not be written: is the disk full?"
found=$(stat -c "%u:%g:%a %s" "$real" "$new")
owner=${found%% *}
case $found in *"
$owner $BYTES") ;; *"
$owner "*) refuse "the new text did not arrive whole";; *)
  refuse "$(id -un) cannot keep the owner of $real: let the control run as $(stat -c %U "$real")";; esac
[ -z "$KEEP" ] || { cp -a "$real" "$KEEP.part" && mv -f "$KEEP.part" "$KEEP"; } || refuse "$KEEP could not be written"
[ -z "$MARK" ] || echo "$F was written, and what must follow is not done yet." >"$MARK" ||
  refuse "$MARK could not be written"
mv -f "$new" "$real" && trap - EXIT && echo replaced
"""
)


class FileChanged(Transient):
    """The file was changed by somebody else between reading and replacing it: nothing was written."""

    code = 11


@dataclass(frozen=True)
class HostFile:
    """One file on one host."""

    control: NodeControl
    path: str

    def read(self, deadline: float) -> str:
        """Give its text."""
        return _done(self.control.run(script(_READ, F=self.path), deadline), self.path).out

    def read_marked(self, deadline: float, marks: str) -> tuple[str, bool]:
        """Give its text, and whether there is a file whose name begins with MARKS."""
        found = _done(self.control.run(script(_READ_MARKED, F=self.path, MARKS=marks), deadline), self.path)
        text, _, said = found.out.rpartition("\n")
        return text, said == "marked"

    def replace(self, text: str, deadline: float, *, before: str, keep: str = "", mark: str = "") -> None:
        """Put TEXT in place of BEFORE, which it must still hold; KEEP is where a copy of BEFORE is left.

        MARK is a file that is made just before: who replaces the file has more to do, and removes it at the end.
        """
        digest = hashlib.sha256(before.encode()).hexdigest()
        body = script(_REPLACE, F=self.path, SUM=digest, BYTES=len(text.encode()), KEEP=keep, MARK=mark)
        _done(self.control.run(body, deadline, stdin=text, writes=True), self.path)


def _done(done: Completed, path: str) -> Completed:
    if done.rc == _CHANGED:
        raise FileChanged(f"{path} was changed by somebody else meanwhile: nothing was written. Run it again.")
    if done.rc == _MISSING:
        raise Misconfigured(f"{done.said}: correct the path in the block.")
    if done.rc != 0:
        raise SalvorError(f"{path} was left as it was: {done.said}.")
    return done
