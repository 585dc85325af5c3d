"""Prefect's own server, which remembers what it is: `python -m flows.triggers.prefect_server server start ...`.

Every action of an automation makes a client of the server inside the server, and for each of them Prefect (3.8) reads
its logging configuration and prints all settings anew: 0.1 s in which it answers nobody. Any other Prefect server
serves Salvor as well, that much slower.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import prefect.server.api.server as prefect_server
from fastapi import FastAPI


def remembering(create: Callable[..., FastAPI]) -> Callable[..., FastAPI]:
    """Ask CREATE only once for the application that runs; what is asked for with settings is another matter."""
    known: list[FastAPI] = []

    def create_app(*args: object, **settings: object) -> FastAPI:
        if args or settings:
            return create(*args, **settings)
        if not known:
            known.append(create())
        return known[0]

    return create_app


def main() -> None:
    """Be the `prefect` command."""
    prefect_server.create_app = remembering(prefect_server.create_app)
    from prefect.cli import app  # noqa: PLC0415  # after the change

    sys.argv[0] = "prefect"
    app()


if __name__ == "__main__":
    main()
