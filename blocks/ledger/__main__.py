"""Run `python -m blocks.ledger upgrade [URL]`: bring the ledger's tables to the newest version."""

from __future__ import annotations

import sys
from typing import cast

from pydantic import SecretStr

from blocks.errors import SalvorError
from blocks.ledger.block import Ledger


def main(arguments: list[str]) -> int:
    """Upgrade the ledger at URL, or the one saved as the block `ledger`."""
    if arguments[:1] != ["upgrade"] or len(arguments) > 2:  # noqa: PLR2004  # the command and one URL
        sys.stderr.write("usage: python -m blocks.ledger upgrade [URL]\n")
        return 2
    try:
        named = Ledger(url=SecretStr(arguments[1])) if arguments[1:] else Ledger.load("ledger")
        cast("Ledger", named).upgrade()
    except (SalvorError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("The ledger is up to date.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
