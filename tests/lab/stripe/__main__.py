"""The fake Stripe alone: `python -m tests.lab.stripe --port 0` (or `make fake-stripe`) prints how to reach it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading

import uvicorn

from tests.lab.stripe.control import Control
from tests.lab.stripe.fake import ACCOUNT, KEY, LIVE_KEY, SECRET
from tests.lab.stripe.server import Line
from tests.lab.stripe.universe import API_VERSION


def main() -> int:
    """Serve until Ctrl-C, SIGTERM, or, as a child, the end of the parent."""
    given = _arguments()
    # asyncio sends at once only on a socket that says it is TCP; without it every answer waits 40 ms for an ACK.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", given.port))
        listener.listen(512)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        control = Control(ACCOUNT, KEY, LIVE_KEY, SECRET)
        control.postbox.automatic = not given.child
        _say(url, child=given.child)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(control, listener))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.stripe", description=__doc__)
    parser.add_argument("--port", type=int, default=12111, help="0 takes a free one")
    parser.add_argument("--child", action="store_true", help="print JSON, and end when standard input does")
    return parser.parse_args()


def _say(url: str, *, child: bool) -> None:
    if child:
        print(json.dumps({"url": url, "api_version": API_VERSION}), flush=True)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        return
    print(f"The fake Stripe answers at {url} (API {API_VERSION}). Ctrl-C ends it.")
    print(f'  client          stripe.StripeClient("{KEY}", base_addresses={{"api": "{url}"}})')
    print(f"  live key        {LIVE_KEY}")
    print(f"  account         {ACCOUNT}")
    print(f"  webhook secret  {SECRET}")
    print(f"  control         curl {url}/_fake/seed -d '{{\"customers\": 100}}'", flush=True)


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


async def _serve(control: Control, listener: socket.socket) -> None:
    config = uvicorn.Config(
        control.server,
        http=Line,
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        timeout_keep_alive=120,
        timeout_graceful_shutdown=1,
    )
    await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
