"""Doing the same on several nodes at once, and looking until something is true."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")
#: Seconds between two looks while clients wait: about what a look itself costs.
LOOK = 0.005


def each(names: Iterable[K], work: Callable[[K], T]) -> dict[K, T]:
    """Do WORK for all NAMES at the same time."""
    wanted = list(names)
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        return dict(zip(wanted, pool.map(work, wanted), strict=True))


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Look again and again until it is TRUE or SECONDS have passed; say which."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(LOOK)
    return True
