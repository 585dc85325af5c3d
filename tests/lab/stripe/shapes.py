"""Objects as Stripe's API of the SDK's version writes them: billing."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]
#: How many items a subscription shows; the others are had from /v1/subscription_items.
INLINE_ITEMS = 10
DAY = 86_400
MONTH = 30 * DAY
AMOUNT = 2_000
NO_ADDRESS = {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}


def listed(url: str, data: list[Object]) -> Object:
    """Wrap DATA as a list."""
    return {"object": "list", "data": data, "has_more": False, "url": url}


def customer(id_: str, created: int, *, livemode: bool, **more: Any) -> Object:
    """Describe a customer."""
    return {
        "id": id_,
        "object": "customer",
        "address": NO_ADDRESS,
        "balance": 0,
        "created": created,
        "currency": "usd",
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": "7FE1103",
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": livemode,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
        **more,
    }


def price(id_: str, created: int, currency: str, amount: int, *, livemode: bool) -> Object:
    """Describe a recurring price."""
    return {
        "id": id_,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": created,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": livemode,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": "prod_QXg1hqf4jFNsqG",
        "recurring": {
            "interval": "month",
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        },
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def plan(of: Object) -> Object:
    """Describe the plan that a price once was, as every item still shows it."""
    recurring = of["recurring"]
    return {
        "id": of["id"],
        "object": "plan",
        "active": True,
        "amount": of["unit_amount"],
        "amount_decimal": of["unit_amount_decimal"],
        "billing_scheme": "per_unit",
        "created": of["created"],
        "currency": of["currency"],
        "interval": recurring["interval"],
        "interval_count": 1,
        "livemode": of["livemode"],
        "metadata": {},
        "meter": None,
        "nickname": None,
        "product": of["product"],
        "tiers_mode": None,
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def item(id_: str, created: int, of: Object, subscription: str, start: int, end: int, quantity: int) -> Object:  # noqa: PLR0913, PLR0917 - what an item is
    """Describe an item of a subscription; since basil the period is the item's."""
    return {
        "id": id_,
        "object": "subscription_item",
        "billing_thresholds": None,
        "created": created,
        "current_period_end": end,
        "current_period_start": start,
        "discounts": [],
        "metadata": {},
        "plan": plan(of),
        "price": of,
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": [],
    }


def subscription(  # noqa: PLR0913, PLR0917 - what a subscription is
    id_: str,
    created: int,
    customer_id: str,
    status: str,
    currency: str,
    items: list[Object],
    *,
    livemode: bool,
    **more: Any,
) -> Object:
    """Describe a subscription."""
    return {
        "id": id_,
        "object": "subscription",
        "application": None,
        "application_fee_percent": None,
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": created,
        "billing_cycle_anchor_config": None,
        "billing_mode": {"flexible": None, "type": "classic"},
        "billing_thresholds": None,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": created,
        "currency": currency,
        "customer": customer_id,
        "customer_account": None,
        "days_until_due": None,
        "default_payment_method": None,
        "default_source": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "ended_at": None,
        "invoice_settings": {
            "account_tax_ids": None,
            "custom_fields": None,
            "description": None,
            "footer": None,
            "issuer": {"type": "self"},
        },
        "items": listed(f"/v1/subscription_items?subscription={id_}", items),
        "latest_invoice": None,
        "livemode": livemode,
        "metadata": {},
        "next_pending_invoice_item_invoice": None,
        "on_behalf_of": None,
        "pause_collection": None,
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
        },
        "pending_invoice_item_interval": None,
        "pending_setup_intent": None,
        "pending_update": None,
        "schedule": None,
        "start_date": created,
        "status": status,
        "test_clock": None,
        "transfer_data": None,
        "trial_end": None,
        "trial_settings": {"end_behavior": {"missing_payment_method": "create_invoice"}},
        "trial_start": None,
        **more,
    }
