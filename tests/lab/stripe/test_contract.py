"""Every request is held against the parameters that the SDK itself declares."""

from __future__ import annotations

import pytest
import stripe

from tests.lab.stripe import FakeStripe
from tests.lab.stripe.contract import routes

WRONG = [
    ("/v1/subscriptions", {"statuss": "all"}, "statuss"),
    ("/v1/subscriptions", {"status": "alive"}, "status"),
    ("/v1/subscriptions", {"created": {"since": 1}}, "created[since]"),
    ("/v1/subscriptions", {"created": {"gte": "yesterday"}}, "created[gte]"),
    ("/v1/payment_intents", {"status": "succeeded"}, "status"),
    ("/v1/charges", {"status": "succeeded"}, "status"),
    ("/v1/events", {"status": "failed"}, "status"),
    ("/v1/events", {"delivery_success": "maybe"}, "delivery_success"),
    ("/v1/events", {"type": "a.b", "types": ["a.b"]}, "types"),
    ("/v1/events", {"types": [f"a.{n}" for n in range(21)]}, "types"),
    ("/v1/customers", {"limit": 101}, "limit"),
    ("/v1/customers", {"limit": 0}, "limit"),
    ("/v1/customers", {"starting_after": "cus_a", "ending_before": "cus_b"}, "ending_before"),
    ("/v1/customers", {"starting_after": "cus_nobody"}, "starting_after"),
    ("/v1/invoice_payments", {"payment": {"type": "cheque"}}, "payment[type]"),
    ("/v1/subscription_items", {}, "subscription"),
]
RIGHT = [
    ("/v1/subscriptions", {"status": "all", "limit": 100, "created": {"gte": 1, "lt": 2}, "expand": ["data.customer"]}),
    ("/v1/events", {"types": [f"a.{n}" for n in range(20)], "delivery_success": False, "created": {"gte": 1}}),
    ("/v1/invoice_payments", {"payment": {"type": "payment_intent", "payment_intent": "pi_1"}, "status": "paid"}),
    ("/v1/invoices", {"collection_method": "charge_automatically", "created": 5}),
    ("/v1/account", {}),
    ("/v1/balance", {}),
]


@pytest.mark.parametrize(("path", "params", "param"), WRONG)
def test_what_the_sdk_does_not_declare_is_refused(
    client: stripe.StripeClient, path: str, params: dict[str, object], param: str
) -> None:
    """An unknown parameter or value gets Stripe's own 400, which names the parameter."""
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.raw_request("get", path, **params)
    assert refused.value.http_status == 400
    assert refused.value.param == param
    assert refused.value.json_body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(("path", "params"), RIGHT)
def test_what_the_sdk_declares_is_accepted(client: stripe.StripeClient, path: str, params: dict[str, object]) -> None:
    """Valid parameters of all kinds go through, as the SDK writes them on the wire."""
    assert client.raw_request("get", path, **params).code == 200


def test_an_address_that_stripe_does_not_have(client: stripe.StripeClient) -> None:
    """An unknown path is a 404 that names it."""
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL") as refused:
        client.raw_request("get", "/v1/subscription")
    assert refused.value.http_status == 404


def test_a_version_that_is_none(client: stripe.StripeClient) -> None:
    """A Stripe-Version that is no version is refused."""
    with pytest.raises(stripe.InvalidRequestError, match="Invalid Stripe API version"):
        client.v1.customers.list(options={"stripe_version": "latest"})


def test_every_route_has_its_contract() -> None:
    """All parameters of the modelled services can be made strict."""
    made = [route.adapter for listed in routes().values() for _, route in listed]
    assert len(made) > 80


def test_the_journal_knows_every_request(fake: FakeStripe, client: stripe.StripeClient) -> None:
    """Method, endpoint, parameters, status and version of each request are written down."""
    client.v1.subscriptions.list({"status": "all", "limit": 5})
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.retrieve("cus_nobody")
    listed, retrieved = fake.requests()
    assert (listed["method"], listed["endpoint"], listed["status"]) == ("GET", "GET /v1/subscriptions", 200)
    assert listed["params"] == {"status": "all", "limit": "5"}
    assert listed["api_version"] == stripe.api_version
    assert (retrieved["endpoint"], retrieved["status"]) == ("GET /v1/customers/{customer}", 404)
    assert fake.requests(since=1) == [retrieved]
