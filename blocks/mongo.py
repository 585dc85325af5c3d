"""MongoDB by its own tools: mongodump keeps it with a set, mongorestore brings it back.

Not exercised here: no MongoDB server can be installed where Salvor is built. The tests hold the commands to what the
tools document; practise it with your own server.
"""

from __future__ import annotations

import json
import re
from typing import Final

from blocks.backup_records import MongoArchive
from blocks.backup_repository import BackupRepository
from blocks.errors import Misconfigured
from blocks.node_scripts import labelled, script
from blocks.postgres_host import ScriptFailed

ARCHIVE: Final = "mongo.archive.gz"
_DUMPED: Final = re.compile(r"done dumping \S+ \((\d+) documents?\)")
_RESTORED: Final = re.compile(r"(\d+) document\(s\) restored successfully\. (\d+) document\(s\) failed to restore")

# The address holds a password: it comes by standard input, and lies in a file that only its owner reads, for as long
# as the tool runs. An archive begins with four bytes of its own; gzip compares the checksum of the rest.
KEEP: Final = """
umask 077
part=$R/sets/.$I.part
[ -d "$part" ] || refuse "the set $I that grew is gone: somebody else has cleared it away"
mkdir -p "$part/dumps" && cd "$part/dumps" || exit 1
conf=$part/.mongo; kept=no
trap 'rm -f "$conf" "$conf.said"; [ $kept = yes ] || rm -f "$FILE"' EXIT
cat >"$conf"
mongodump --config="$conf" --archive="$FILE" --gzip $OPLOG 2>"$conf.said" ||
  refuse "mongodump failed: $(tail -n 1 "$conf.said")"
begins=$(gunzip -c "$FILE" 2>/dev/null | head -c 4 | od -An -tx1 | tr -d " ")
[ "$begins" = 6de29981 ] || refuse "what mongodump wrote is no archive"
gzip -t "$FILE" || refuse "what mongodump wrote cannot be read again"
sync "$FILE"
echo "bytes: $(wc -c <"$FILE")"
echo "sha256: $(sha256sum <"$FILE" | cut -d" " -f1)"
grep "done dumping" "$conf.said"; kept=yes
"""

RESTORE: Final = """
umask 077
from=$R/sets/$I/dumps/$FILE; conf=$R/.salvor-mongo.$$; trap 'rm -f "$conf"' EXIT
[ -f "$from" ] || refuse "$from is not there"
[ "$(sha256sum <"$from" | cut -d" " -f1)" = "$SHA" ] || refuse "$from is not as it was written"
cat >"$conf"
mongorestore --config="$conf" --archive="$from" --gzip $OPLOG 2>&1 || exit 1
"""


def keep(block: BackupRepository, name: str, deadline: float) -> MongoArchive:
    """Keep the MongoDB of BLOCK in the set NAME that grows."""
    url = block.mongo_url.get_secret_value()
    # Only a replica set has an oplog, with which all of it is of one moment.
    out = _run(block, script(KEEP, **_values(block, name), OPLOG="--oplog" if _replicated(url) else ""), url, deadline)
    said = labelled(out)
    documents = sum(int(count) for count in _DUMPED.findall(out))
    return MongoArchive(bytes=int(said["bytes"]), sha256=said["sha256"], documents=documents)


def restore(block: BackupRepository, name: str, kept: MongoArchive, deadline: float) -> str:
    """Put the archive of the set NAME into the MongoDB that is meant for it; what is there already stays as it is."""
    url = block.mongo_restore_url.get_secret_value()
    if not url:
        raise Misconfigured("Where MongoDB is to come back is not said: fill in mongo_restore_url of the repository.")
    oplog = "--oplogReplay" if _replicated(block.mongo_url.get_secret_value()) else ""
    out = _run(block, script(RESTORE, **_values(block, name), SHA=kept.sha256, OPLOG=oplog), url, deadline)
    found = _RESTORED.search(out)
    if found is None:
        raise ScriptFailed("mongorestore does not say how many documents came back: is it of another version?")
    done, failed = int(found[1]), int(found[2])
    if failed or done < kept.documents:
        raise ScriptFailed(f"{done} of {kept.documents} documents of MongoDB came back, and {failed} failed.")
    return f"{done} documents of MongoDB are back, as mongorestore says"


def _replicated(url: str) -> bool:
    return "replicaSet=" in url


def _values(block: BackupRepository, name: str) -> dict[str, str]:
    return {"R": block.directory, "I": name, "FILE": ARCHIVE}


def _run(block: BackupRepository, text: str, url: str, deadline: float) -> str:
    # The tools read YAML; a string of JSON is one of YAML.
    done = block.control.run(text, deadline, stdin=f"uri: {json.dumps(url)}\n", writes=True)
    if done.rc != 0:
        raise ScriptFailed(f"MongoDB: {done.said}.", done.rc)
    return done.out
