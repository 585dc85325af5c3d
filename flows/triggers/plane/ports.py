"""Pick a port on 127.0.0.1, and say plainly when it is taken."""

from __future__ import annotations

import socket

from blocks.errors import Misconfigured


def pick(port: int) -> int:
    """Return PORT when it is free, or any free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Misconfigured(
                f"Port {port} of 127.0.0.1 cannot be used ({error.strerror}): choose another one."
            ) from error
        return int(probe.getsockname()[1])
