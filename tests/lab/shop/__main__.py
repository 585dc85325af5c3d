"""The patient for Stripe and for wrong rows: `python -m tests.lab.shop up`; in another terminal, `break` it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from tests.lab import processes
from tests.lab.plane import tell_plane_address
from tests.lab.pointer import HOME

if TYPE_CHECKING:
    from tests.lab.shop.lab import ShopLab

POINTER = HOME / "shop"


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.shop", description=__doc__)
    actions = {"up": up, "break": break_it, "break-data": break_rows}
    parser.add_argument(
        "action",
        choices=actions,
        help="up: until Ctrl-C; break: let webhooks get lost, and rows drift; break-data: let rows be wrong",
    )
    return actions[parser.parse_args().action]()


def up() -> int:
    """Bring the shop up, make it known to the control plane as soon as there is one, and keep it until Ctrl-C."""
    if running():
        print("A shop is already up; Ctrl-C in its terminal ends it.", file=sys.stderr)
        return 1
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    told = tell_plane_address()
    # Only now: Prefect reads its settings, those of the plane, when it is imported.
    from tests.lab.shop.lab import shop_lab  # noqa: PLC0415

    with shop_lab() as lab:
        POINTER.write_text(json.dumps({"pid": os.getpid(), "spec": lab.describe()}))
        try:
            print(f"The fake Stripe answers at {lab.fake.url}, and delivers webhooks to the shop.")
            print(f"The shop's tables are in {lab.url} (psql).")
            print(save(lab.blocks()) if told else "There is no control plane: `make up` first, then start this again.")
            print("Break it: make lab-break-stripe, or make lab-break-data. Ctrl-C ends it.", flush=True)
            done.wait()
        finally:
            POINTER.unlink(missing_ok=True)
    print("\nThe shop is gone.")
    return 0


def running() -> str:
    """Return how to take hold of the shop that is up; empty when none is."""
    found = json.loads(POINTER.read_text()) if POINTER.exists() else {}
    return str(found["spec"]) if found and processes.alive(found["pid"]) else ""


def save(blocks: list[tuple[str, object]]) -> str:
    """Save the blocks, unless somebody has a real account under the lab's name."""
    from blocks.stripe_account import StripeAccount  # noqa: PLC0415 - as above

    named = blocks[0][0]
    try:
        known = StripeAccount.load(named)
    except ValueError:
        known = None
    if isinstance(known, StripeAccount) and not known.api_base:
        return (
            f"The block {named} is an account at Stripe itself, so it was left alone: the shop is not known to Salvor."
        )
    for name, block in blocks:
        block.save(name, overwrite=True)  # type: ignore[attr-defined]
    return (
        f"Salvor knows it as `{named}`, the target of the Stripe procedures, and its database as `{blocks[1][0]}`, the"
        " target of those for consistency."
    )


def break_it() -> int:
    """Let the shop that is up and Stripe drift apart."""
    lab = attached()
    if lab is None:
        return 1
    from tests.lab.shop.breaks import WHAT_NOW, break_it  # noqa: PLC0415 - Prefect costs seconds

    print("Losing webhooks takes a moment ...", flush=True)
    print("\n".join(break_it(lab)))
    print(WHAT_NOW)
    return 0


def break_rows() -> int:
    """Let rows of the shop that is up be wrong."""
    lab = attached()
    if lab is None:
        return 1
    from tests.lab.shop.data import WHAT_NOW, break_data  # noqa: PLC0415 - as above

    print("\n".join(break_data(lab, str(time.time()))))
    print(WHAT_NOW)
    return 0


def attached() -> ShopLab | None:
    """Take hold of the shop that is up, or say that none is."""
    spec = running()
    if not spec:
        print("No shop is up; `make lab-stripe` brings one up.", file=sys.stderr)
        return None
    from tests.lab.shop.lab import ShopLab  # noqa: PLC0415 - as above

    return ShopLab.attach(json.loads(spec))


if __name__ == "__main__":
    sys.exit(main())
