"""An application's endpoint is called as Stripe calls it, and what it answers is told apart."""

from __future__ import annotations

import pytest

from blocks.errors import Transient
from blocks.webhook_door import WebhookDoor, WebhookRefused
from tests.lab.stripe.shop_window import ShopWindow

SECRET = "whsec_door"
PAYLOAD = '{"id": "evt_1", "object": "event",  "name": "Zoë"}'


def test_the_exact_bytes_go_out_with_a_fresh_signature():
    """The SDK of the application verifies them."""
    with ShopWindow() as window, WebhookDoor(window.url, SECRET) as door:
        door.deliver(PAYLOAD)
        assert window.got[0][0] == PAYLOAD.encode()
        assert [event.id for event in window.events(SECRET)] == ["evt_1"]


@pytest.mark.parametrize("status", [400, 404, 408, 409, 429, 503])
def test_what_may_pass_is_tried_again_and_what_was_refused_is_not(status):
    """The sentence says what the endpoint answered."""
    kind = WebhookRefused if status in {400, 404} else Transient
    with ShopWindow(status) as window, WebhookDoor(window.url, SECRET) as door:
        with pytest.raises(kind, match=f"answered {status}"):
            door.deliver(PAYLOAD)
        url = window.url
    with WebhookDoor(url, SECRET) as door, pytest.raises(Transient, match="did not answer"):
        door.deliver(PAYLOAD)
