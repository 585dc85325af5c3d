"""Files and Redis on a repository's host: their fingerprints before they are kept, and when they are back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from blocks import restic_scripts as sh
from blocks.backup_records import KeptFile
from blocks.errors import Misconfigured
from blocks.node_command import Completed
from blocks.node_control import NodeControl
from blocks.node_scripts import REFUSED, labelled, script
from blocks.postgres_host import ScriptFailed

BATCH = 50  #: files that are read at a time
REDIS_DUMP = "salvor-redis/dump.rdb"  #: where the keys of Redis are, in a snapshot


@dataclass(frozen=True)
class Marks:
    """What can be told of files without their content."""

    paths: tuple[str, ...] = ()  #: those that were asked for, and what they lead to
    absent: tuple[str, ...] = ()  #: those that were asked for and are not there
    files: dict[str, KeptFile] = field(default_factory=dict)

    def settled(self, later: Marks) -> tuple[KeptFile, ...]:
        """Give what was the same LATER; of a file that changed, or came or went, no fingerprint."""
        both = {**later.files, **self.files}
        steady = {path for path, mark in self.files.items() if later.files.get(path) == mark}
        return tuple(
            both[path] if path in steady else both[path].model_copy(update={"sha256": ""}) for path in sorted(both)
        )


@dataclass(frozen=True)
class HostFiles:
    """The files of one host."""

    control: NodeControl
    key: str = ""  #: what fingerprints of secrets are made with, so that nobody can guess what was fingerprinted

    def marks(self, paths: list[str], deadline: float, *, below: str = "") -> Marks:
        """Fingerprint every file in PATHS; BELOW is a folder that is left out of their names."""
        body = f"set -- {shlex.join(paths)}\n{sh.FINGERPRINTS}"
        items = self._run(body, deadline, "be fingerprinted").out.split("\0")
        sums = {item[66:]: item[:64] for item in items if item[64:66] == "  "}
        found: dict[str, KeptFile] = {}
        for item in items:
            if item.startswith("file "):
                _, mode, size, path = item.split(" ", 3)
                name = path.removeprefix(below)
                fingerprint = self._fingerprint(name, sums.get(path, ""))
                found[name] = KeptFile(path=name, mode=mode, bytes=int(size), sha256=fingerprint)
        return Marks(_after("path ", items), _after("absent ", items), found)

    def set_modes(self, modes: dict[str, str], deadline: float = 60.0) -> None:
        """Give each path its mode."""
        pairs = "".join(f"{mode}\0{path}\0" for path, mode in modes.items())
        self._run(sh.MODES, deadline, "get their modes", stdin=pairs, writes=True)

    def broken_json(self, paths: list[str], deadline: float) -> dict[str, str]:
        """Parse each of PATHS, and say what is wrong with which."""
        wrong: dict[str, str] = {}
        for path, text in self._contents(paths, deadline):
            try:
                json.loads(base64.b64decode(text))
            except json.JSONDecodeError as error:  # where it is broken, and nothing of what it holds
                wrong[path] = f"line {error.lineno}, column {error.colno}"
            except (ValueError, RecursionError) as error:
                wrong[path] = type(error).__name__
        return wrong

    # --- Redis

    def dump_redis(self, url: str, into: str, deadline: float) -> int:
        """Let the Redis at URL send all its keys into the file INTO, and give how many arrived."""
        values, password = _address(url)
        body = sh.REDIS_DUMP + sh.REDIS_COUNT
        done = self._run(
            body, deadline, "take the keys of Redis", stdin=f"{password}\n", writes=False, INTO=into, **values
        )
        return _keys(done)

    def count_redis(self, dump: str, deadline: float) -> int:
        """Count the keys in a dump, every checksum compared."""
        return _keys(self._run(sh.REDIS_COUNT, deadline, "count keys", INTO=dump))

    def drop_dump(self, dump: str, deadline: float = 60.0) -> None:
        """Remove the folder of a dump, which is kept elsewhere now."""
        self._run(sh.DROP, deadline, "be removed", writes=True, INTO=dump)

    def lay_redis(self, folder: str, deadline: float = 60.0) -> None:
        """Make FOLDER one that a Redis can be started in, with an append-only file or without, and has every key."""
        self._run(sh.REDIS_LAY, deadline, "be laid out", writes=True, INTO=folder)

    # --- how

    def _contents(self, paths: list[str], deadline: float) -> Iterator[tuple[str, str]]:
        for first in range(0, len(paths), BATCH):
            some = paths[first : first + BATCH]
            texts = self._run(sh.CONTENTS, deadline, "be read", stdin="\0".join(some) + "\0").out.splitlines()
            yield from zip(some, texts, strict=True)

    def _fingerprint(self, path: str, sha256: str) -> str:
        if not PurePosixPath(path).name.startswith(".env"):
            return sha256
        return hmac.new(self.key.encode(), sha256.encode(), hashlib.sha256).hexdigest()

    def _run(
        self, body: str, deadline: float, what: str, stdin: str = "", *, writes: bool = False, **values: str
    ) -> Completed:
        done = self.control.run(script(body, **values), deadline, stdin=stdin, writes=writes)
        if done.rc == REFUSED:
            raise Misconfigured(f"{done.said[:1].upper()}{done.said[1:]}.")
        if done.rc != 0:
            raise ScriptFailed(f"The files on the repository's host could not {what}: {done.said}.", done.rc)
        return done


def _address(url: str) -> tuple[dict[str, str], str]:
    """Read redis://user:password@host:port; the password goes its own way."""
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:  # its words may hold a piece of the password
        parts, port = urlsplit(""), 0
    if parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        raise Misconfigured("redis_url of the repository is no redis://user:password@host:port: correct it.")
    tls = "--tls" if parts.scheme == "rediss" else ""
    values = {"HOST": parts.hostname, "PORT": str(port), "ROLE": unquote(parts.username or ""), "TLS": tls}
    return values, unquote(parts.password or "")


def _keys(done: Completed) -> int:
    said = labelled(done.out).get("keys", "")
    if not said.isdigit():
        raise ScriptFailed("redis-check-rdb does not say how many keys there are: is it of another version?")
    return int(said)


def _after(word: str, items: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.removeprefix(word) for item in items if item.startswith(word)))
