"""Sets whose files pgBackRest holds; records, WAL and all else as for every set."""

from __future__ import annotations

from blocks import backup_scripts
from blocks import pgbackrest_scripts as sh
from blocks.backup_records import BackupSet, Taken
from blocks.errors import SalvorError
from blocks.native_backup import NativeRepository
from blocks.pgbackrest_says import Stanza, stanza, taken, unfit, verdict
from blocks.postgres_host import ScriptFailed


class PgBackRestRepository(NativeRepository):
    """A repository whose next set is taken by pgBackRest. Sets of before stay what they are, and can be restored."""

    def clear(self, deadline: float = 60.0) -> str:
        """End and remove what a backup that died has left, also in pgBackRest's repository."""
        parts = self._write(backup_scripts.END + backup_scripts.PARTS, deadline, "be cleared").out.split()
        spared = [part for part in parts if not self._forgotten(part.removeprefix(".").removesuffix(".part"), deadline)]
        done = self._write(backup_scripts.CLEAR, deadline, "be cleared", SPARE=" ".join(spared))
        stay = [f"{part} stays until pgBackRest lets it go" for part in spared]
        return ", ".join([*done.out.splitlines(), *stay])

    def take(
        self,
        name: str,
        source: str,  # noqa: ARG002 - pgBackRest's own configuration says which server, and how to log in
        system_identifier: str,
        deadline: float,
        *,
        parent: str = "",
    ) -> Taken:
        """Let pgBackRest copy its stanza into the set NAME that grows, on top of the set PARENT if given."""
        base = self._newest(parent, deadline) if parent else ""
        asked = ("incr" if parent else "full", base)
        body = f"{backup_scripts.OPEN}{sh.BACKUP}"
        values = {"I": name, "TYPE": asked[0], "SYSTEM": system_identifier}
        held = _read(self._write(body, deadline, "take a backup", **values).out)
        kept = held.of_set(name)
        if kept is None:
            raise ScriptFailed("pgBackRest says that it took a backup, and holds none of that name.")
        if wrong := unfit(kept, held.cluster_of(kept), asked, system_identifier):
            raise ScriptFailed(f"pgBackRest's backup {kept.label} is not what was asked for: {wrong}.")
        self.put(name, "data/label", f"{kept.label}\n")
        manifest = self._run(sh.FINGERPRINT, deadline, "give its manifest", LABEL=kept.label).out.strip()
        return taken(kept, held.cluster_of(kept), manifest)

    def verify(self, made: BackupSet, deadline: float = 3600.0) -> str:
        """Compare every file of the set with its checksum, and read the WAL that it needs; write down what was found.

        That WAL is not in the set, as it is in one of pg_basebackup.
        """
        if not made.label:
            return super().verify(made, deadline)
        found = verdict(self._run(sh.VERIFY, deadline, "verify a set", I=made.id, LABEL=made.label).out, made)
        if found.unread:
            raise ScriptFailed(f"The set {made.id} could not be read: {found.unread}.")
        wrong = found.damage or self.prove(made.timeline, made.start_lsn, made.end_lsn, deadline).broken
        if wrong:
            self.condemn(made.id, wrong)
        else:
            self._write(sh.GOOD, deadline, "mark a set", I=made.id)
        return wrong

    def _newest(self, parent: str, deadline: float) -> str:
        """Give the label of the set PARENT; pgBackRest builds on its newest backup, and can be told no other."""
        label = next((each.label for each in self.look(deadline).sets if each.id == parent), "")
        newest = _read(self._run(sh.INFO, deadline, "be read").out).backup[-1:]
        if not label or [each.label for each in newest] != [label]:
            raise ScriptFailed(
                f"pgBackRest builds on its newest backup only, and that is not the one of {parent}: take a full set, "
                "and let nobody else use this stanza."
            )
        return label

    def _forgotten(self, name: str, deadline: float) -> bool:
        """Remove what was taken for the set NAME, which never became one; say whether it is gone."""
        try:
            if kept := _read(self._run(sh.INFO, deadline, "be read").out).of_set(name):
                self._write(sh.FORGET_ONE, deadline, "forget a backup", LABEL=kept.label)
        except SalvorError:
            return False
        return True


def _read(text: str) -> Stanza:
    try:
        return stanza(text)
    except ValueError as error:
        raise ScriptFailed(f"pgBackRest's answer cannot be read: {str(error).splitlines()[-1]}.") from None
