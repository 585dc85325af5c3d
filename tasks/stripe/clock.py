"""The one clock by which it is noted when Stripe was asked: the database's, for whoever looks, wherever he runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from blocks.app_database import AppDatabase

Clock = Callable[[], float]  #: seconds since 1970


def database_clock(database: AppDatabase, monotonic: Callable[[], float] = time.monotonic) -> Clock:
    """Ask the database for its time once, and count on from the answer: rather early than late.

    A look that is noted too late would make others refuse a later one as the older.
    """
    told = database.now()
    begun = monotonic()
    return lambda: told + monotonic() - begun
