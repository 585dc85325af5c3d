"""Every block there is: `prefect block register -m blocks.catalogue` makes them all known to a Prefect server."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from prefect.blocks.core import Block

import blocks


def found() -> Iterator[type[Block]]:
    """Look through this package, so that no list can forget a block."""
    for module in pkgutil.walk_packages(blocks.__path__, "blocks."):
        if module.name.endswith(("__main__", ".catalogue")) or ".migrations" in module.name:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Block) and value.__module__ == module.name:
                yield value


BLOCKS = tuple(sorted(found(), key=lambda block: block.__name__))
globals().update({block.__name__: block for block in BLOCKS})
