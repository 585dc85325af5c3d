"""Start a responder: `python -m flows.triggers.responder [--pool NAME] [--limit N] [--name NAME]`.

The same worker is started by `prefect worker start --type responder --pool NAME`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal

from flows.triggers.responder.worker import Responder


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="responder", description=__doc__)
    parser.add_argument("--pool", default="responder", help="the work pool, made when it does not exist")
    parser.add_argument("--name", help="the worker's name; unique among workers of the pool")
    parser.add_argument("--limit", type=int, default=16, help="how many runs at once")
    return parser.parse_args()


async def respond(pool: str, name: str | None, limit: int) -> None:
    """Work until SIGTERM or Ctrl-C; then take nothing new and leave when the last run has ended."""
    worker = asyncio.create_task(Responder(work_pool_name=pool, name=name, limit=limit).start())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.cancel)
    try:
        await worker
    except asyncio.CancelledError:
        print("The responder has stopped.")  # noqa: T201


def main() -> None:
    """Run the command."""
    chosen = arguments()
    asyncio.run(respond(chosen.pool, chosen.name, chosen.limit))
