"""What the tests leave out of every Prefect server and client they start, because no test is about it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import certifi

END = "-----END CERTIFICATE-----\n"
SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Server and clients are of one installation; every client would ask for the version all the same.
    "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    # Otherwise every step of a task costs a transaction of its own; only what is shown in the UI comes later.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}


def settle() -> None:
    """Let this process, and all it starts, be thrifty; a developer's own Prefect must not be the one that is tested."""
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ |= SETTINGS | {"SSL_CERT_FILE": str(one_authority())}


def one_authority() -> Path:
    """Keep one certificate for the session: each client reads all it is given, 13 ms, and speaks to loopback only."""
    folder = Path(tempfile.mkdtemp(prefix="salvor-authority-"))
    folder.chmod(0o755)  # the database's user reads it too
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(folder, ignore_errors=True) if os.getpid() == owner else None)
    first, _, _ = Path(certifi.where()).read_text().partition(END)
    path = folder / "authority.pem"
    path.write_text(first + END)
    return path
