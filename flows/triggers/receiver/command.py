"""The receiver: alerts and requests come in over HTTP, are stored, and become Prefect events.

    python -m flows.triggers.receiver --port 8090

It needs the blocks `ledger` and `intake`, and PREFECT_API_URL. Several may run behind any load balancer.
"""

from __future__ import annotations

import argparse
import sys

import uvicorn

from blocks.errors import SalvorError
from blocks.intake import Intake
from blocks.ledger.block import Ledger
from blocks.prefect_api import PrefectApi
from flows.triggers.catalogue import procedures
from flows.triggers.loading import load_block, speak
from flows.triggers.receiver.application import build


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m flows.triggers.receiver", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--ssl-certfile", help="certificate, when no load balancer ends TLS before this")
    parser.add_argument("--ssl-keyfile", help="its key")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser.parse_args()


def main() -> int:
    """Serve until told to stop; 2 when a setting is missing."""
    args = arguments()
    speak(args.log_level)
    try:
        ledger, intake = load_block(Ledger, "ledger"), load_block(Intake, "intake")
        ledger.upgrade()
        app = build(ledger, intake, PrefectApi.configured(), procedures())
    except SalvorError as error:
        sys.stderr.write(f"The receiver does not start: {error}\n")
        return 2
    uvicorn.run(
        app,
        host=args.host,
        port=args.port,
        ssl_certfile=args.ssl_certfile,
        ssl_keyfile=args.ssl_keyfile,
        log_level=args.log_level,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return 0
