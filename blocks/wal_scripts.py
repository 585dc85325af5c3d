"""The shell that reads the WAL of a repository as a recovery would. R and B are as in backup_scripts."""

from __future__ import annotations

from typing import Final

# Every file of one timeline under its own name, whichever stream has it; a whole one goes before a part of it. What a
# full disk has cut off is no file of WAL: PostgreSQL itself takes none that is not of full size. Nor has a folder any
# that a salvage which was killed has left: fetch-wal does not look there.
FARM: Final = """
farm=$(mktemp -d /tmp/salvor-wal.XXXXXX) || exit 1
trap 'rm -rf "$farm"' EXIT
newest() {
  find "$R/wal" -mindepth 2 -maxdepth 2 -type f -size "${SEGMENT}c" -name "$1" ! -path "*Z.part/*" -printf "%f %h\\n" |
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

# Where a restore point was set, if it was. pg_waldump waits 5 s at the end of what there is.
POINT: Final = (
    FARM
    + r"""
"$B/pg_waldump" -p "$farm" -t "$((0x$T))" -r XLOG -s "$START" ${END:+-e "$END"} 2>/dev/null |
  NAME=$NAME awk '
  { at = index($0, "desc: RESTORE_POINT ") }
  at && substr($0, at + 20) == ENVIRON["NAME"] {
    match($0, /lsn: [0-9A-F]+\/[0-9A-F]+/); print substr($0, RSTART + 5, RLENGTH - 5); exit
  }'
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
