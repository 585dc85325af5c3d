"""Ports that nobody else gets by chance while a node of the lab is down."""

from __future__ import annotations

import random
import socket

# Below the ephemeral range: the kernel hands none of these to an outgoing connection, so a dead
# node finds its own port free when it comes back.
LOW, HIGH = 15_000, 32_000


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


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port, without connecting to it.

    With SO_REUSEADDR a port can be bound beside anything but a listener, and a server that is just
    starting is not disturbed. Reading the kernel's table of connections would cost 2 ms each time.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
