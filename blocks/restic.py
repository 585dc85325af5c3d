"""restic, run on a repository's host: files go in under the name of a set, and come back from there."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Literal

from blocks import restic_scripts as sh
from blocks.backup_records import Snapshot
from blocks.errors import Misconfigured, SalvorError, Transient
from blocks.node_command import Completed
from blocks.node_control import NodeControl
from blocks.node_scripts import REFUSED, script
from blocks.postgres_host import ScriptFailed
from blocks.restic_place import ResticPlace

What = Literal["files", "offsite"]
HEALTHY = "no errors were found"  #: the only proof that `restic check` gives
UNREAD = 3  #: exit code when a file could not be kept
_SAVED = re.compile(r"^snapshot ([0-9a-f]+) saved", re.MULTILINE)
_ERROR = re.compile(r"^(?:error:|error for|ignoring error for|Pack ID|Fatal:|Could not)", re.IGNORECASE)


class NoPlace(Misconfigured):
    """There is no restic repository at the place where it should be."""

    code = 22


#: What restic and its drivers say, and what it means; the first that is found counts.
_SAYS: tuple[tuple[str, type[SalvorError], str], ...] = (
    (r"wrong password", Misconfigured, "the password of {place} is another one: correct it; a lost one has no remedy"),
    (
        r"connection refused|no such host|i/o timeout|unreachable|reset by peer|unable to start the sftp session",
        Transient,
        "{place} cannot be reached ({said})",
    ),
    (r"ignoring error|verification failed|does not match", ScriptFailed, "what {place} holds is damaged ({said})"),
    (r"already locked", Transient, "somebody else is at work in {place}"),
    (
        r"read-only file system|permission denied|access ?denied",
        Misconfigured,
        "{place} may not be read or written ({said})",
    ),
    (
        r"does not exist|no such file or directory|is there a repository",
        NoPlace,
        "there is no restic repository at {place}",
    ),
)


@dataclass(frozen=True)
class Restic:
    """A place of restic. Primitives only: nothing here decides anything."""

    place: ResticPlace
    control: NodeControl
    owner: str  #: whose snapshots these are; others may keep theirs in the same place

    def open(self, *, make: bool, deadline: float = 120.0) -> str:
        """See whether the place is there, and free it of a run that died; MAKE it where there is none yet."""
        try:
            self._run(self._restic("unlock"), deadline, "be opened", writes=True)
        except NoPlace:
            if not make:
                raise
            self._run(f"{self._restic('init')} >&2", deadline, "be made", writes=True)
            return "made"
        return "there"

    def keep(  # noqa: PLR0913 - each is one thing that is said of a snapshot
        self,
        paths: list[str],
        set_id: str,
        what: What,
        deadline: float,
        *,
        inside: str = "/",
        exclude: tuple[str, ...] = (),
    ) -> str:
        """Keep PATHS with a set, and give the snapshot's id. Those that are not absolute lie INSIDE that folder."""
        excluded = [f"--exclude={each}" for each in exclude]
        tags = ["--tag", set_id, "--tag", what, "--host", self.owner]
        body = f"backup() {{ {self._restic('backup', *tags, *excluded, '--', *paths)} 2>&1; }}\n"
        body += f'forget() {{ {self._restic("forget")} "$@"; }}\n{sh.KEEP}'
        done = self._run(body, deadline, f"keep the {what} of a set", writes=True, INSIDE=inside)
        return str(_SAVED.findall(done.out)[-1])

    def snapshots(self, deadline: float = 60.0) -> tuple[Snapshot, ...]:
        """List what is kept, the oldest first."""
        listed = self._restic("snapshots", "--no-lock", "--json", "--host", self.owner)
        found = [_snapshot(each) for each in json.loads(self._run(listed, deadline, "be listed").out) or []]
        return tuple(sorted((each for each in found if each), key=lambda each: each.at))

    def verify(self, deadline: float, share: str = "") -> str:
        """Read what is kept, or a SHARE of it such as 1/30, compare every checksum, and give the complaints.

        Without reading, restic passes a bit that has flipped in a pack.
        """
        reading = f"--read-data-subset={share}" if share else "--read-data"
        done = self._ran(f"{self._restic('check', reading)} 2>&1", deadline, writes=True)
        if done.rc == 0 and HEALTHY in done.out:
            return ""
        complaints = [line.strip() for line in done.out.splitlines() if _ERROR.match(line)]
        if not any(each.startswith(("Pack ID", "error for")) for each in complaints):
            self._proven(done, "be verified")
        return "; ".join(complaints[:3]) or "restic check failed without a word"

    def read(self, snapshot: str, path: str, deadline: float = 60.0) -> str:
        """Give one file of a snapshot."""
        return self._run(self._restic("dump", "--no-lock", snapshot, path), deadline, f"give {path}").out

    def restore(self, snapshot: str, into: str, deadline: float, include: tuple[str, ...] = ()) -> str:
        """Restore SNAPSHOT, or what INCLUDE names of it, into an empty folder; killed, it begins again."""
        included = [f"--include={each}" for each in include]
        argv = self._restic("restore", "--no-lock", snapshot, *included, "--target")
        body = f'restore() {{ {argv} "$part" >&2; }}\n{sh.RESTORE}'
        return self._run(body, deadline, "be restored", INTO=into, SNAPSHOT=snapshot).out.strip()

    def forget(self, snapshots: tuple[str, ...], deadline: float) -> None:
        """Forget SNAPSHOTS, and remove what only they held."""
        self._run(f"{self._restic('forget', '--prune', *snapshots)} >&2", deadline, "forget sets", writes=True)

    # --- how

    def _restic(self, *argv: str) -> str:
        options = [part for each in self.place.options for part in ("-o", each)]
        cache = ["--no-cache"] if self.place.repository.startswith("/") else []
        return shlex.join(["restic", *cache, *options, *argv])

    def _run(self, body: str, deadline: float, what: str, *, writes: bool = False, **values: str) -> Completed:
        return self._proven(self._ran(body, deadline, writes=writes, **values), what)

    def _ran(self, body: str, deadline: float, *, writes: bool = False, **values: str) -> Completed:
        secrets = [self.place.password.get_secret_value(), self.place.repository, *self.place.pairs, "", ""]
        text = script(f"{sh.OPEN}{sh.WRITABLE if writes else ''}{body}", **values)
        return self.control.run(text, deadline, stdin="\n".join(secrets), writes=writes)

    def _proven(self, done: Completed, what: str) -> Completed:
        if done.rc == 0:
            return done
        text = f"{done.out}\n{done.err}"
        lines = [line.strip() for line in text.splitlines() if _ERROR.match(line)]
        said = self._masked(re.sub(r"^Fatal: ", "", lines[0]) if lines else done.said)
        if done.rc == REFUSED:
            raise Misconfigured(f"{done.said[:1].upper()}{done.said[1:]}.")
        if done.rc == UNREAD:
            raise ScriptFailed(f"Not every file could be read ({said}), so the snapshot is not whole.", UNREAD)
        for pattern, kind, sentence in _SAYS:
            if re.search(pattern, text, re.IGNORECASE):
                place = self._masked(self.place.repository)
                worded = sentence.format(place=place, said=said)
                raise kind(f"{worded[:1].upper()}{worded[1:]}.")
        raise ScriptFailed(f"restic's place could not {what}: {said}.", done.rc)

    def _masked(self, text: str) -> str:
        secrets = [self.place.password.get_secret_value(), *(each.partition("=")[2] for each in self.place.pairs)]
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return text


def _snapshot(said: dict[str, object]) -> Snapshot | None:
    tags = said.get("tags")
    match tags:
        case [str(set_id), "files" | "offsite" as what]:
            return Snapshot.model_validate({"id": said["id"], "at": said["time"], "set_id": set_id, "what": what})
    return None
