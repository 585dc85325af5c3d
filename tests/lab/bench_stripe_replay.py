"""The replay's row: an outage of five hours, of which Stripe has ten thousand events."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from typing import Any

from tasks.stripe.claims import Claims
from tasks.stripe.replay_list import event_of
from tests.lab.bench_rows import Row
from tests.lab.bench_stripe_naive import one_by_one
from tests.lab.bench_stripe_resync import LIMITED_LATENCY_SECONDS
from tests.lab.bench_stripe_stage import ACCOUNT_RATE, ENDPOINT_RATE, Ran, Stage

#: kind, id prefix of the nth, type of its events, how many objects.
TOUCHED = (
    ("subscription", "sub_1S001", "customer.subscription.updated", 900),
    ("invoice", "in_1S001", "invoice.paid", 500),
    ("customer", "cus_1S001", "customer.updated", 300),
    ("payment_intent", "pi_1S001", "payment_intent.succeeded", 300),
)
EACH = 5
EVENTS = EACH * sum(number for *_, number in TOUCHED)
WINDOW_SECONDS = 5 * 3600
DONE, RECEIVED, TIES = 0.10, 0.05, 0.05
NAIVE_OBJECTS = 60
SHARE = 0.6  #: of the account's limit, the default of a user's block
EVERY = 50_000  #: customers that the shop has, with two subscriptions each: the objects are 2 % of a list
#: The shop has been there for a year: which invoice a payment pays is known.
PAYMENTS = """
INSERT INTO payments (id, invoice_id, livemode) SELECT 'pi_1S001' || n, 'in_1S001' || n, false
FROM (SELECT lpad(g::text, 10, '0') AS n FROM generate_series(0, %s) g) numbers
"""


def replay(stage: Stage, runs: int) -> Row:
    """Bring all of it to its effect at Stripe's limit."""
    row = Row("replay", f"replay of {EVENTS:,} events over {EVENTS // EACH:,} objects, 25/s, 200 ms")
    requests, refused = [], 0
    for number in range(max(1, runs // 3)):
        ties = _outage(stage, number)
        ran = stage.run("stripe-replay", settle_seconds=0)
        row.ours.append(ran.seconds)
        row.floor.append(_cost(ran))
        row.loads.append(os.getloadavg()[0])
        requests.append(len(ran.requests))
        refused += ran.refused
        row.facts |= {"ties": ties, "requests": dict(_by_endpoint(ran)), "peak_mb": round(ran.peak_mb)}
        row.phases.append(ran.phases("/v1/events"))
        _done(stage)
    ids = [f"sub_1S001{each:010d}" for each in range(50_000, 50_000 + NAIVE_OBJECTS)]
    stage.fake.faults(rate_per_endpoint=0, rate_per_account=0)
    row.naive = one_by_one(stage.fake, stage.url, ids, EVENTS)
    row.sampled = f"{NAIVE_OBJECTS} events, in their order, without a limit, to {EVENTS:,}"
    row.must("times what the look-ups cost at the limit", row.figure / max(row.floor), 1.3)
    row.must("requests beyond objects + pages", max(requests) - _bound(ran), 0)
    row.must("requests answered 429", refused, 0)
    return row


def _outage(stage: Stage, seed: int) -> int:
    """Let the events happen, and some of them be in our ledger: done, or only received. Count the ties."""
    stage.begin_again(customers=EVERY, subscriptions_per_customer=2)
    stage.account(requests_per_second=ACCOUNT_RATE)
    stage.sql(PAYMENTS, [2 * EVERY])
    chance, now, ties = random.Random(seed), int(time.time()), 0
    acts: list[dict[str, Any]] = []
    for kind, prefix, type_, objects in TOUCHED:
        for number in chance.sample(range(EVERY), objects):
            moments = [now - 60 - chance.randrange(WINDOW_SECONDS) for _ in range(EACH)]
            if chance.random() < TIES * EACH / 2:  # two of the five, so that one event in twenty has a twin
                moments[1], ties = moments[0], ties + 2
            told = {"kind": "object.touch", "id": f"{prefix}{number:010d}", "type": type_}
            acts += [told | {"object": kind, "at": at, "note": str(n)} for n, at in enumerate(sorted(moments))]
    acts.sort(key=lambda act: act["at"])
    stage.fake.control("acts", acts=acts)
    _ledger(stage, chance)
    stage.fake.faults(
        latency_seconds=LIMITED_LATENCY_SECONDS, rate_per_endpoint=ENDPOINT_RATE, rate_per_account=ACCOUNT_RATE
    )
    return ties


def _ledger(stage: Stage, chance: random.Random) -> None:
    known = chance.sample(stage.fake.events(), int(EVENTS * (DONE + RECEIVED)))
    claims = Claims(stage.database)
    with stage.database.writing() as connection:
        claims.keep(connection, [event_of(body, stage.fake.account) for body in known], "webhook")
    done = [body["id"] for body in known[: int(EVENTS * DONE)]]
    stage.sql("UPDATE stripe_events SET status = 'processed', processed_at = now() WHERE event_id = ANY (%s)", [done])


def _done(stage: Stage) -> None:
    """Make sure that every event came to its end, for the number would mean nothing otherwise."""
    ended = stage.sql("SELECT count(*) FROM stripe_events WHERE status IN ('processed', 'superseded')").fetchone()
    if ended != (EVENTS,):
        raise RuntimeError(f"{ended} events are done instead of {EVENTS:,}.")


def _by_endpoint(ran: Ran) -> list[tuple[str, int]]:
    return Counter(each["endpoint"].removeprefix("GET ") for each in ran.requests).most_common()


def _looks(ran: Ran) -> Counter[str]:
    return Counter(
        each["endpoint"] for each in ran.requests if not each["path"].startswith(("/v1/event", "/v1/acc", "/v2/"))
    )


def _cost(ran: Ran) -> float:
    """Say how long the look-ups take at the limit: of the slowest endpoint, or of our share of the account's."""
    looks = _looks(ran)
    return max(max(looks.values()) / ENDPOINT_RATE, looks.total() / (ACCOUNT_RATE * SHARE))


def _bound(ran: Ran) -> int:
    """Count the objects, the pages of the lists (not those that are asked for one object), and whose key it is."""
    lists = {"GET /v1/events", "GET /v2/core/events", "GET /v1/account", *(f"GET /v1/{kind}s" for kind, *_ in TOUCHED)}
    return sum(objects for *_, objects in TOUCHED) + sum(each["endpoint"] in lists for each in ran.requests)
