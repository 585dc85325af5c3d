"""Ports that nobody else gets by chance while a node of the lab is down."""

from __future__ import annotations

import random
import socket
from pathlib import Path

# Below the ephemeral range: the kernel hands none of these to an outgoing connection, so a dead
# node finds its own port free when it comes back.
LOW, HIGH = 15_000, 32_000
LISTEN = "0A"


def free_ports(count: int) -> list[int]:
    """Pick COUNT loopback ports that were free a moment ago."""
    chosen: list[int] = []
    while len(chosen) < count:
        port = random.SystemRandom().randrange(LOW, HIGH)
        if port not in chosen and _free(port):
            chosen.append(port)
    return chosen


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listening() -> set[int]:
    """Return the IPv4 ports somebody listens on, as the kernel tells them (no connection is made)."""
    rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return {int(row.split(None, 2)[1].rpartition(":")[2], 16) for row in rows if row.split(None, 4)[3] == LISTEN}
