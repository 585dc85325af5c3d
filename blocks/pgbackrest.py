"""Sets whose files pgBackRest holds; records, WAL and all else as for every set."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from blocks import backup_scripts
from blocks import pgbackrest_scripts as sh
from blocks.backup_records import BackupSet, Taken, lsn
from blocks.errors import SalvorError
from blocks.native_backup import NativeRepository
from blocks.postgres_host import ScriptFailed

#: Exit codes with which it says of a file that it is damaged, and not that it could not be read.
DAMAGE = {"26", "29", "55", "95"}
_COUNTED = re.compile(r"^\s*backup: (\S+), status: ([a-z -]+), total files checked: (\d+), total valid files: (\d+)")
_WRONG = re.compile(r"INFO:\s+(?P<why>(?:invalid|missing|other|file|checksum|size).*)")
_CODE = re.compile(r"\[0*(\d+)\]")


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Kept(_Said):
    """One backup as pgBackRest says it, in `info --output=json`."""

    label: str
    type: str
    prior: str | None = None
    error: bool = False  #: a page had another checksum: the exit code was 0 all the same
    archive: dict[str, str | None] = Field(default_factory=dict)  #: files of WAL; their names begin with the timeline
    lsn: dict[str, str] = Field(default_factory=dict)
    info: dict[str, Any] = Field(default_factory=dict)
    database: dict[str, int] = Field(default_factory=dict)
    annotation: dict[str, str] = Field(default_factory=dict)

    @property
    def set_id(self) -> str:
        """Name the set that it was taken for; empty: it is none of Salvor's."""
        return self.annotation.get("salvor", "")


class Stanza(_Said):
    """What pgBackRest holds of one cluster."""

    backup: tuple[Kept, ...] = ()
    db: tuple[dict[str, Any], ...] = ()

    def cluster_of(self, kept: Kept) -> dict[str, Any]:
        """Give version and system identifier of the cluster that a backup is of."""
        return next((each for each in self.db if each.get("id") == kept.database.get("id")), {})


class PgBackRestRepository(NativeRepository):
    """A repository whose next set is taken by pgBackRest. Sets of before stay what they are, and can be restored."""

    def clear(self, deadline: float = 60.0) -> str:
        """End and remove what a backup that died has left, also in pgBackRest's repository."""
        parts = self._write(backup_scripts.END + backup_scripts.PARTS, deadline, "be cleared").out.split()
        spared = [part for part in parts if not self._forgotten(part.removeprefix(".").removesuffix(".part"), deadline)]
        done = self._write(backup_scripts.CLEAR, deadline, "be cleared", SPARE=" ".join(spared))
        stay = [f"{part} stays until pgBackRest lets it go" for part in spared]
        return ", ".join([*done.out.splitlines(), *stay])

    def take(self, name: str, source: str, system_identifier: str, deadline: float, *, parent: str = "") -> Taken:  # noqa: ARG002  # its configuration says which server, and how to log in
        """Let pgBackRest copy its stanza into the set NAME that grows, on top of the set PARENT if given."""
        base = self._label(parent, deadline) if parent else ""
        newest = self._stanza(deadline).backup[-1:] if parent else ()
        if parent and [each.label for each in newest] != [base]:
            raise ScriptFailed(
                f"pgBackRest builds on its newest backup only, which is not that of {parent}: take a full set, and let "
                "nobody else use this stanza."
            )
        body = f"{backup_scripts.OPEN}{backup_scripts.LOGIN}{sh.BACKUP}"
        kind = "incr" if parent else "full"
        values = {"I": name, "TYPE": kind, "SYSTEM": system_identifier}
        stanza = _stanza(self._write(body, deadline, "take a backup", stdin="\n", **values).out)
        kept = next((each for each in reversed(stanza.backup) if each.set_id == name), None)
        if kept is None:
            raise ScriptFailed("pgBackRest says that it took a backup, and holds none of that name.")
        if wrong := _unfit(kept, stanza.cluster_of(kept), (kind, base), system_identifier):
            raise ScriptFailed(f"pgBackRest's backup {kept.label} is not what was asked for: {wrong}.")
        self.put(name, "data/label", f"{kept.label}\n")
        manifest = self._run(sh.FINGERPRINT, deadline, "give its manifest", LABEL=kept.label).out.strip()
        return _taken(kept, stanza.cluster_of(kept), manifest)

    def verify(self, made: BackupSet, deadline: float = 3600.0) -> str:
        """Compare every file of the set with its checksum, and read the WAL that it needs; write down what was found.

        Its WAL is not in the set, as it is in one of pg_basebackup.
        """
        if not made.label:
            return super().verify(made, deadline)
        done = self._run(sh.VERIFY, deadline, "verify a set", I=made.id, LABEL=made.label)
        wrong = _found(done.out, made)
        if not wrong:
            wrong = self.prove(made.timeline, made.start_lsn, made.end_lsn, deadline).broken
        if wrong:
            self.condemn(made.id, wrong)
        else:
            self._write(sh.GOOD, deadline, "verify a set", I=made.id)
        return wrong

    def _stanza(self, deadline: float) -> Stanza:
        return _stanza(self._run(sh.INFO, deadline, "be read").out)

    def _label(self, name: str, deadline: float) -> str:
        return next((each.label for each in self.look(deadline).sets if each.id == name), "")

    def _forgotten(self, name: str, deadline: float) -> bool:
        """Remove what was taken for the set NAME, which never became one; say whether it is gone."""
        try:
            for kept in self._stanza(deadline).backup:
                if kept.set_id == name:
                    self._write(sh.FORGET_ONE, deadline, "forget a backup", LABEL=kept.label)
        except SalvorError:
            return False
        return True


def _stanza(text: str) -> Stanza:
    try:
        found = TypeAdapter(tuple[Stanza, ...]).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ScriptFailed(f"pgBackRest's answer cannot be read: {where}: {first['msg']}.") from None
    return found[0] if found else Stanza()


def _unfit(kept: Kept, cluster: dict[str, Any], asked: tuple[str, str], system_identifier: str) -> str:
    """Say what is wrong with a backup that was taken just now; empty when nothing is."""
    kind, base = asked
    if kept.error:
        return "a page that it copied has another checksum, so the database itself is damaged"
    if (kept.type, kept.prior or "") != (kind, base):
        return f"it is {kept.type} on top of {kept.prior or 'nothing'}"
    if str(cluster.get("system-id")) != system_identifier:
        return f"it is of another cluster ({cluster.get('system-id')}, this is {system_identifier})"
    return "" if kept.archive.get("start") and len(kept.lsn) == 2 else "it does not say which WAL it needs"  # noqa: PLR2004  # from and to


def _taken(kept: Kept, cluster: dict[str, Any], manifest: str) -> Taken:
    return Taken(
        system_identifier=str(cluster["system-id"]),
        major=int(str(cluster["version"]).split(".", maxsplit=1)[0]),
        timeline=int(str(kept.archive["start"])[:8], 16),
        start_lsn=lsn(kept.lsn["start"]),
        end_lsn=lsn(kept.lsn["stop"]),
        bytes=int(kept.info["repository"]["delta"]),
        restored_bytes=int(kept.info["size"]),
        manifest_sha256=manifest,
        label=kept.label,
    )


def _found(text: str, made: BackupSet) -> str:
    """Read what VERIFY printed: what is wrong with the set, empty when every file of it was compared and is right."""
    if text.strip() == "gone":
        return f"pgBackRest holds {made.label} no longer"
    said = dict(line.partition(": ")[::2] for line in text.splitlines()[-2:])
    counted = next((m for line in text.splitlines() if (m := _COUNTED.match(line)) and m[1] == made.label), None)
    if said.get("then") != "kept" or counted is None:
        raise ScriptFailed(f"The set {made.id} could not be read: pgBackRest's repository cannot be reached.")
    status, checked, valid = counted[2], int(counted[3]), int(counted[4])
    if status == "valid" and checked == valid > 0:
        return "" if said.get("manifest") == made.manifest_sha256 else "its manifest is not the one that was written"
    complaints = [m["why"].strip() for line in text.splitlines() if (m := _WRONG.search(line))]
    unread = [each for each in complaints if (code := _CODE.search(each)) and code[1] not in DAMAGE]
    if unread or status == "in-progress":
        raise ScriptFailed(f"The set {made.id} could not be read: {(unread or [status])[0]}.")
    first = f": {complaints[0]}" if complaints else ""
    return f"{checked - valid} of its {checked} files are damaged ({status}){first}"
