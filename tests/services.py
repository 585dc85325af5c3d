"""Two small services that use a database: a shop, and a worker that depends on it. A book has what befell them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from blocks.backup_repository import BackupRepository
from blocks.node_control import CommandControl, LocalControl
from blocks.service import Service
from tests.lab.account import Account

# Called with a name and what to do. A file such as shop.sick makes it so.
PROGRAM = """#!/bin/sh
cd "${0%/*}" || exit 9
name=$1
pid=$(cat "$name.pid" 2>/dev/null)
alive() { grep -qs "^State:.[^ZX]" "/proc/${pid:-none}/status"; }
case $2 in
start)
  [ ! -e "$name.broken" ] || { echo "$name has no licence" >&2; exit 3; }
  ! alive || exit 0
  [ "$name" = shop ] || [ -e shop.ready ] || { echo "there is no shop" >&2; exit 4; }
  (sleep 0.2; touch "$name.ready"; exec sleep 200) >/dev/null 2>&1 </dev/null &
  echo $! >"$name.pid"
  echo "$name started" >>book ;;
stop)
  [ ! -e "$name.stubborn" ] || { echo "$name does not listen" >&2; exit 5; }
  rm -f "$name.ready"
  alive || exit 0
  while alive; do kill -KILL "$pid"; sleep 0.02; done
  echo "$name stopped" >>book ;;
healthy)
  [ ! -e "$name.sick" ] && alive && [ -e "$name.ready" ] || { echo "$name does not answer" >&2; exit 7; }
esac
"""
SHOP, WORKER = "shop", "worker"


def thief(block: BackupRepository) -> Service:
    """Describe one that takes all WAL out of a repository when it is stopped, if a file lost.wal lies beside that.

    So the WAL gets lost after the plan was made, and is there again when everything was taken back.
    """
    wal, taken, wanted = f"{block.directory}/wal", f"{block.directory}/taken", f"{block.directory}/../lost.wal"
    stop = f"[ ! -e {wanted} ] || {{ mkdir {taken} && mv {wal}/*Z {taken}; }}"
    start = f"[ ! -e {taken} ] || {{ mv {taken}/*Z {wal} && rmdir {taken}; }}"
    return Service(name="thief", control=block.control, stop=stop, start=start)


class Services:
    """Both of them, in a folder."""

    def __init__(self, folder: Path, account: Account, control: CommandControl | LocalControl) -> None:
        folder.mkdir()
        self.folder, self.control, self.program = folder, control, folder / "service"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        (folder / "book").touch()
        for path in (folder, *folder.iterdir()):
            account.own(path)
        for name in (SHOP, WORKER):
            self.ask(name, "start")
            while self.ask(name, "healthy"):
                pass
        (folder / "book").write_text("")

    def described(self, *, mute: str = "") -> list[Service]:
        """Describe them as a block does; one that is MUTE does not say whether it works."""
        return [
            Service(
                name=name, control=self.control, stop=f"{self.program} {name} stop",
                start=f"{self.program} {name} start",
                healthy="" if name == mute else f"{self.program} {name} healthy", healthy_seconds=1,
            )
            for name in (SHOP, WORKER)
        ]  # fmt: skip

    def ask(self, name: str, what: str) -> int:
        """Tell one of them what to do; give the exit code."""
        return self.control.run(f"{self.program} {name} {what}", 10).rc

    def befall(self, *what: str) -> None:
        """Let it be so, e.g. shop.sick."""
        for each in what:
            (self.folder / each).touch()

    def mend(self) -> None:
        """Let all be well again; none is started by that."""
        for what in ("sick", "broken", "stubborn"):
            for file in self.folder.glob(f"*.{what}"):
                file.unlink()

    def working(self) -> list[str]:
        """Name those that work."""
        return [name for name in (SHOP, WORKER) if self.ask(name, "healthy") == 0]

    def told(self) -> list[str]:
        """Give what befell them since this was asked last."""
        book = self.folder / "book"
        found = book.read_text().splitlines()
        book.write_text("")
        return found

    def end(self) -> None:
        """End them."""
        self.mend()
        for name in (WORKER, SHOP):
            self.ask(name, "stop")
        subprocess.run(["rm", "-rf", self.folder], check=True)
