"""What is taken out of Stripe's objects: the few fields that are needed, in the shape of the current version. Pure."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Id = str | None


class Narrow(BaseModel):
    """The few fields that are needed of an object; the others are not even built."""

    model_config = ConfigDict(extra="ignore")


class Named(Narrow):
    """An object of Stripe."""

    id: str
    created: int
    livemode: bool
    deleted: bool = False


class Metadata(Narrow):
    """What the application wrote onto a customer."""

    user_id: str | None = None


class Customer(Named):
    """A customer."""

    metadata: Metadata = Field(default_factory=Metadata)
    email: str | None = None
    currency: str | None = None
    delinquent: bool | None = None


class Deleted(Narrow):
    """What is left of a deleted object."""

    id: str
    deleted: Literal[True]


class Price(Narrow):
    """The price of an item."""

    id: str


class Item(Narrow):
    """An item of a subscription: since API 2025-03-31 the period is the item's."""

    id: str
    current_period_start: int
    current_period_end: int
    quantity: int | None = None
    price: Price | None = None


class Items(Narrow):
    """The items that came with a subscription."""

    data: list[Item]
    has_more: bool = False


class Subscription(Named):
    """A subscription."""

    customer: str
    status: str
    items: Items
    cancel_at_period_end: bool = False
    pause_collection: object = None


class SubscriptionDetails(Narrow):
    """Which subscription an invoice is of."""

    subscription: Id = None


class Parent(Narrow):
    """What an invoice came from."""

    subscription_details: SubscriptionDetails | None = None


class Invoice(Named):
    """An invoice."""

    customer: Id = None
    status: str | None = None
    currency: str | None = None
    amount_due: int = 0
    amount_paid: int = 0
    parent: Parent | None = None


class Intent(Named):
    """A payment intent."""

    customer: Id = None
    status: str
    currency: str
    amount: int
    amount_received: int = 0
    latest_charge: Id = None


class Charge(Named):
    """A charge."""

    payment_intent: Id = None
    amount_refunded: int = 0


class Paid(Narrow):
    """What pays an invoice."""

    type: str = ""
    payment_intent: Id = None


class InvoicePayment(Named):
    """That a payment pays an invoice."""

    invoice: Id = None
    payment: Paid = Field(default_factory=Paid)


N = TypeVar("N", bound=Named)


class Page(Narrow, Generic[N]):
    """One page of a list."""

    data: list[N]
    has_more: bool = False
