"""A process that is forked for every death: everything is imported, and it dies where it is told to.

It reads one order a line, {"url", "account", "events", "die"}, and answers with how often it passed each place, or with
{"died": true}. With events it is the application's endpoint that takes them, otherwise it is a replay.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

from pydantic import SecretStr

from blocks.app_database import AppDatabase, Connection
from blocks.stripe_account import StripeAccount
from blocks.stripe_api import StripeApi
from tasks.stripe.reach import Reach
from tasks.stripe.replay_policies import ReplayPolicy
from tests.flows.stripe_scene import FAST, deliver, rehearse
from tests.lab.shop.endpoint import Shop


class Fate:
    """Counts what is passed, and ends the process at one of them."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.place, self.number = "", 0
        self._lock = Lock()

    def passing(self, place: str) -> None:
        with self._lock:
            self.passed[place] += 1
            if (place, self.passed[place]) == (self.place, self.number):
                os._exit(9)


FATE = Fate()


class MortalDatabase(AppDatabase):
    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with super().writing() as connection:
            yield connection
            FATE.passing("before commit")
        FATE.passing("after commit")


class MortalApi(StripeApi):
    def _asked(self, path: str, params: Mapping[str, Any]) -> bytes:
        body = super()._asked(path, params)
        FATE.passing("answer")
        return body


class MortalReach(Reach):
    def api(self, account: str) -> StripeApi:
        return MortalApi(self.account)


def live(order: dict[str, Any]) -> None:
    """Do what is ordered, until death or to the end."""
    FATE.place, FATE.number = order["die"] or ("", 0)
    secret = {name: SecretStr(order["account"].pop(name)) for name in ("secret_key",)}
    hooks = [SecretStr(each) for each in order["account"].pop("webhook_secrets")]
    account = StripeAccount(**order["account"], **secret, webhook_secrets=hooks)
    database = MortalDatabase(url=SecretStr(order["url"]))
    if not order["events"]:
        rehearse(MortalReach("shop", account, database), ReplayPolicy(**FAST, workers=2))
        return
    shop = Shop(account, database)
    shop.api = MortalApi(account)
    for event in order["events"]:
        deliver(shop, event)


def main() -> None:
    """Fork for every order."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            live(json.loads(line))
            sys.stdout.write(json.dumps(FATE.passed) + "\n")
            sys.stdout.flush()
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            sys.stdout.write('{"died": true}\n')
            sys.stdout.flush()


if __name__ == "__main__":
    main()
