"""Stripe is only read, what it answers is told apart, and what may pass is asked again with patience."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, TypeAdapter

from blocks.errors import Transient
from blocks.stripe_account import StripeAccount
from blocks.stripe_api import ATTEMPTS, BASE_SECONDS, CAP_SECONDS, GetOnly, StripeApi, backoff, endpoint_of
from blocks.stripe_errors import StripeBusy, StripeForbidden, StripeMissing, StripeRefused, StripeStopped
from blocks.stripe_limits import RateLimiter
from tests.flows.paper_stripe import ACCOUNT, CUT, PaperStripe

PATH = "/v1/customers/cus_1"


class Patience:
    """Stands for the event that ends a wait: notes how long was to be waited, and does not wait."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        return False

    def is_set(self) -> bool:
        return False


@pytest.fixture(scope="module")
def paper():
    with PaperStripe() as it:
        yield it


@pytest.fixture
def api(paper, tmp_path):
    """Give an account whose limits are in a folder of its own, and nobody sleeps."""
    paper.requests.clear()
    limiter = RateLimiter(ACCOUNT, 1e5, 1e5, tmp_path, sleep=lambda _seconds: None)
    block = StripeAccount(
        secret_key=SecretStr("sk_test_1"), account=ACCOUNT, livemode=False, database="d", api_base=paper.url,
    )  # fmt: skip
    with StripeApi(block, limiter=limiter) as it:
        it.stopped = Patience()
        yield it


def error(message: str = "No.", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


RATE, LOCK = error(code="rate_limit"), error(code="lock_timeout")
ANSWERS = [
    pytest.param((401, error(), {}), StripeStopped, 1, id="401"),
    pytest.param((403, error(), {}), StripeForbidden, 1, id="403"),
    pytest.param((404, error(code="resource_missing"), {}), StripeMissing, 1, id="404 of an object"),
    pytest.param((404, error("Unrecognized request URL"), {}), StripeRefused, 1, id="404 of an address"),
    pytest.param((400, error(code="resource_missing"), {}), StripeMissing, 1, id="400 of a cursor"),
    pytest.param((400, error(code="parameter_unknown"), {}), StripeRefused, 1, id="400"),
    pytest.param((402, error(code="card_declined"), {}), StripeRefused, 1, id="402"),
    pytest.param((409, error(), {}), StripeBusy, ATTEMPTS, id="409"),
    pytest.param((429, RATE, {"Stripe-Rate-Limited-Reason": "global-rate"}), StripeBusy, ATTEMPTS, id="429, rate"),
    pytest.param((429, LOCK, {"Stripe-Should-Retry": "true"}), StripeBusy, ATTEMPTS, id="429 of a lock"),
    pytest.param((500, error(), {}), StripeBusy, ATTEMPTS, id="500"),
    pytest.param((502, b"<html>Bad Gateway</html>", {}), StripeBusy, ATTEMPTS, id="a proxy's page"),
    pytest.param((CUT, {}, {}), StripeBusy, ATTEMPTS, id="a cut connection"),
]


@pytest.mark.parametrize(("answer", "kind", "asked"), ANSWERS)
def test_every_refusal_has_its_class_and_only_what_may_pass_is_asked_again(api, paper, answer, kind, asked):
    """A key that is wrong, a right that lacks, an object that is gone, a request that is odd, and trouble."""
    paper.fault = lambda _path, _query: answer
    with pytest.raises(Exception) as raised:  # noqa: PT011 - its class is the claim, below
        api.get(PATH)
    assert type(raised.value) is kind
    assert len(paper.requests) == asked
    assert {method for method, _ in paper.requests} == {"GET"}


@pytest.mark.parametrize(
    ("body", "reason", "shares"),
    [(RATE, "global-rate", (0.5, 1.0)), (RATE, "endpoint-rate", (1.0, 0.5)), (LOCK, "", (1.0, 1.0))],
)
def test_the_limiter_hears_of_a_rate_limit_and_not_of_a_lock(api, paper, body, reason, shares):
    """Another request that holds the object says nothing about the rate."""
    answers = iter([(429, body, {"Stripe-Rate-Limited-Reason": reason})])
    paper.fault = lambda _path, _query: next(answers, (200, {}, {}))
    api.get(PATH)
    now = (api.limiter.share(), api.limiter.share(endpoint_of(PATH)))
    assert now == pytest.approx(shares, abs=0.02)  # each request that is let through gives a little back
    assert api.refusals == (0.5 in shares)


def test_retry_after_is_respected_and_one_that_is_too_long_ends_the_request(api, paper):
    """Never before Stripe allows it; what takes minutes is for another run."""
    answers = iter([(429, RATE, {"Retry-After": "90"}), (503, error(), {"Retry-After": "3"})])
    paper.fault = lambda _path, _query: next(answers, (200, {}, {}))
    api.get(PATH)
    first, second = api.stopped.pauses
    assert first >= 90
    assert 3 <= second <= CAP_SECONDS
    paper.fault = lambda _path, _query: (429, RATE, {"Retry-After": "600"})
    with pytest.raises(StripeBusy) as raised:
        api.get(PATH)
    assert raised.value.pause == 600


def test_a_run_that_stops_asks_nothing_more(api, paper):
    """Those who wait are told so, instead of waiting."""
    paper.fault = lambda _path, _query: None
    api.stopped.is_set = lambda: True
    with pytest.raises(Transient, match="because the run stops"):
        api.get(PATH)
    assert paper.requests == []


@pytest.mark.parametrize("method", ["post", "delete", "POST"])
def test_nothing_but_a_get_is_ever_sent(method):
    """Whatever asks for it."""
    with pytest.raises(StripeStopped, match="Salvor only reads"):
        GetOnly().request(method, "http://127.0.0.1:9/v1/customers", {}, None)


def test_the_key_must_be_of_the_account_and_an_answer_of_the_known_shape(api, paper):
    """Both sentences name what to correct in the block."""
    paper.fault = lambda path, _query: (200, {"id": "acct_2"}, {}) if path == "/v1/account" else (200, {"id": 7}, {})
    with pytest.raises(StripeStopped, match="belongs to acct_2, and the block says acct_paper"):
        api.confirm()
    with pytest.raises(StripeRefused, match="Correct api_version"):
        api.read(PATH, TypeAdapter(dict[str, str]))


def test_a_connected_account_is_named_as_each_version_of_the_api_wants_it(api, paper):
    """Stripe-Account for the first, Stripe-Context for the second."""
    paper.fault = lambda _path, _query: (200, {}, {})
    api.on_behalf_of = "acct_9"
    for path in ("/v1/events", "/v2/core/events"):
        paper.on_behalf_of = ""
        api.get(path)
        assert paper.on_behalf_of == "acct_9"


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1/customers/cus_1", "v1/customers/{id}"),
        ("/v1/customers", "v1/customers"),
        ("/v1/invoices/in_1/lines", "v1/invoices/{id}/lines"),
        ("/v2/core/events", "v2/core/events"),
        ("/v2/core/events?page=x", "v2/core/events"),
        ("/v2/core/events/evt_1", "v2/core/events/{id}"),
    ],
)
def test_all_ids_of_a_kind_are_one_endpoint(path, endpoint):
    """As Stripe counts."""
    assert endpoint_of(path) == endpoint


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.floats(0, 1))
def test_the_pause_between_two_tries_is_any_up_to_a_limit_that_doubles(attempt, chance):
    """Full jitter, with a cap."""
    pause = backoff(attempt, lambda low, high: low + (high - low) * chance)
    assert 0 <= pause <= min(CAP_SECONDS, BASE_SECONDS * 2**attempt)
