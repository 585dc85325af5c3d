"""Where an application keeps what is no database: a folder, a Redis, an S3; real ones, on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blocks.node_control import LocalControl
from blocks.restic import Restic
from blocks.restic_place import ResticPlace
from tests.blocks.servers import account, dropping, free_port, run

PASSWORD = "pass phrase, for tests"
HERE = LocalControl(run_as=account().pw_name)
SFTP_SERVER = "/usr/lib/openssh/sftp-server"
needs_restic = pytest.mark.skipif(not shutil.which("restic"), reason="Debian's package restic is not installed")
needs_redis = pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("redis-cli")), reason="Debian's redis-server is not installed"
)


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    """Make a file, and the folders above it, that the database's user owns."""
    run("mkdir", "-p", path.parent)
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, account().pw_uid, account().pw_gid)
    return path


def restic(repository: Path | str, **more: object) -> Restic:
    """Give a place of restic that this machine reaches."""
    place = ResticPlace.model_validate({"repository": str(repository), "password": PASSWORD} | more)
    return Restic(place, HERE, "orders")


def flip_a_bit(repository: Path, pack: Path | None = None) -> None:
    """Change one bit in a pack of a place of restic; in the largest, when none is named."""
    pack = pack or max((repository / "data").glob("*/*"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 3] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)


class Redis:
    """One Redis on a port of its own."""

    def __init__(self, folder: Path, password: str = "") -> None:
        """Describe it; FOLDER is where its files are."""
        self.folder, self.password, self.port = folder, password, free_port()

    @property
    def url(self) -> str:
        """Say where it is, as redis_url does."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}"

    def cli(self, *argv: str) -> str:
        """Ask it."""
        env = {**os.environ, **({"REDISCLI_AUTH": self.password} if self.password else {})}
        argv = ("redis-cli", "-p", str(self.port), *argv)
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False).stdout.strip()


@contextmanager
def redis(folder: Path, *options: str, password: str = "") -> Iterator[Redis]:
    """Run a Redis whose files are in FOLDER."""
    run("mkdir", "-p", folder)
    it = Redis(folder, password)
    settings = ("--port", str(it.port), "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0", "--save", "")
    secret = ("--requirepass", password) if password else ()
    argv = ("redis-server", *options, "--dir", str(folder), *settings, *secret)
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd="/", **dropping()) as server:
        try:
            give_up = time.monotonic() + 10
            while it.cli("ping") != "PONG":
                assert server.poll() is None
                assert time.monotonic() < give_up
                time.sleep(0.01)
            yield it
        finally:
            server.kill()


@contextmanager
def s3() -> Iterator[str]:
    """Run an S3 that forgets everything; give the address of a bucket that is to be made in it."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"s3:http://{host}:{port}/backups"
    finally:
        server.stop()
