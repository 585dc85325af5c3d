"""The application of the consistency bench: it writes at a steady rate, and notes how long each of its writes waited.

A write is due at its time whether or not the one before has ended: what queues behind a block has waited as well.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

CONNECTIONS = 10
#: What is written: a payment's note or when a user was seen, of a row that some rule calls wrong or of any other.
WRITES = (
    "UPDATE payments SET note = 'seen' WHERE id = %s",
    "UPDATE users SET seen_at = now() WHERE id = %s",
)


@dataclass
class Spec:
    """What is written, and how often."""

    conninfo: str
    rate: float  #: writes a second
    share: float  #: of them that hit one of `wrong`
    wrong: list[list[int]]  #: ids of rows that are to be repaired, for each of WRITES
    whole: list[int]  #: the largest id there is, for each of WRITES


@dataclass
class Application:
    """Its connections, and what they have waited."""

    spec: Spec
    stop: threading.Event = field(default_factory=threading.Event)
    waits: list[tuple[float, float, bool]] = field(default_factory=list)  #: when, seconds, on a wrong row
    errors: list[str] = field(default_factory=list)

    def write(self, number: int, begun: float) -> None:
        """Write every CONNECTIONS-th of the writes."""
        chance, step = random.Random(number), CONNECTIONS / self.spec.rate
        due = begun + step * number / CONNECTIONS
        with psycopg.connect(self.spec.conninfo, autocommit=True, application_name="shop") as connection:
            while True:
                pause = due - time.monotonic()
                if self.stop.wait(max(0.0, pause)):
                    return
                # How late the processor wakes us up is no wait for the database; the end of the write before is one.
                self._once(connection, chance, time.monotonic() if pause > 0 else due)
                due += step

    def _once(self, connection: psycopg.Connection[Any], chance: random.Random, since: float) -> None:
        which = chance.randrange(len(WRITES))
        wrong = bool(self.spec.wrong[which]) and chance.random() < self.spec.share
        row = chance.choice(self.spec.wrong[which]) if wrong else chance.randint(1, self.spec.whole[which])
        try:
            connection.execute(WRITES[which].encode(), [row])
        except psycopg.Error as error:
            self.errors.append(str(error))
        self.waits.append((time.time(), time.monotonic() - since, wrong))


def main() -> None:
    """Write until SIGTERM; the first line says that it has begun, the last what was waited."""
    it = Application(Spec(**json.loads(sys.stdin.readline())))
    signal.signal(signal.SIGTERM, lambda *_: it.stop.set())
    begun = time.monotonic() + 0.5
    threads = [threading.Thread(target=it.write, args=(n, begun)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    print("begun", flush=True)
    with suppress(KeyboardInterrupt):
        for thread in threads:
            thread.join()
    print(json.dumps({"waits": it.waits, "errors": it.errors}), flush=True)


if __name__ == "__main__":
    main()
