"""A Stripe for the lab: stateful, on loopback, spoken to by the unmodified SDK."""

from tests.lab.stripe.fake import FakeStripe

__all__ = ["FakeStripe"]
