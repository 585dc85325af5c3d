"""Where an application keeps what Stripe knows: the name of each table and column, with the lab's as defaults."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["text", "whole", "truth", "moment", "json"]

#: The types of PostgreSQL that hold a kind of value without changing it.
TYPES: dict[Kind, frozenset[str]] = {
    "text": frozenset({"text", "varchar", "citext"}),
    "whole": frozenset({"int8", "int4", "int2"}),
    "truth": frozenset({"bool"}),
    "moment": frozenset({"timestamptz"}),
    "json": frozenset({"jsonb"}),
}
#: How the type to have is called in a sentence, and in the statement that makes the column.
CALLED: dict[Kind, str] = {
    "text": "text",
    "whole": "bigint",
    "truth": "boolean",
    "moment": "timestamptz",
    "json": "jsonb",
}


def column(default: str, kind: Kind, what: str, *, may_lack: bool = False) -> Any:  # noqa: ANN401 - as pydantic's Field
    """Describe the column that holds WHAT; one that the application may lack can be left empty."""
    lacks = " Leave it empty when there is no such column." if may_lack else ""
    extra: dict[str, Any] = {"kind": kind}
    return Field(default=default, min_length=0 if may_lack else 1, description=what + lacks, json_schema_extra=extra)


class AppTable(BaseModel):
    """One table of the application."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    primary_key: ClassVar[tuple[str, ...]] = ("id",)  #: the fields whose columns are the primary key
    table: str = Field(min_length=1, description="Name of the table.")

    @classmethod
    def kinds(cls) -> dict[str, Kind]:
        """Give the kind of every field that is a column."""
        extras = {name: field.json_schema_extra for name, field in cls.model_fields.items()}
        return {name: extra["kind"] for name, extra in extras.items() if isinstance(extra, dict)}  # type: ignore[misc]  # as `column` made it

    def columns(self) -> dict[str, str]:
        """Give the column of every field that the application has."""
        return {name: column for name in self.kinds() if (column := getattr(self, name))}


class SyncedTable(AppTable):
    """A table whose rows are copies of Stripe's objects."""

    id: str = column("id", "text", "Column of Stripe's id, the primary key.")
    created_at: str = column("created_at", "moment", "Column of when Stripe made the object.", may_lack=True)
    livemode: str = column("livemode", "truth", "Column of whether the object is of live mode.")
    observed_at: str = column(
        "stripe_observed_at", "moment", "Column of when Stripe was last asked about the row (NOT NULL)."
    )
    deleted_at: str = column("stripe_deleted_at", "moment", "Column of when Stripe no longer had the object, or NULL.")


class UsersTable(AppTable):
    """The people of the application."""

    table: str = Field(default="users", min_length=1, description="Name of the table of users.")
    id: str = column("id", "whole", "Column of the user's number, the primary key.")
    email: str = column("email", "text", "Column of the e-mail address.", may_lack=True)
    stripe_customer_id: str = column("stripe_customer_id", "text", "Column of the customer (cus_…) who the user is.")


class CustomersTable(SyncedTable):
    """Stripe's customers."""

    table: str = Field(default="customers", min_length=1, description="Name of the table of customers.")
    user_id: str = column("user_id", "whole", "Column of the user who the customer is.", may_lack=True)
    email: str = column("email", "text", "Column of the e-mail address.", may_lack=True)
    currency: str = column("currency", "text", "Column of the currency the customer is billed in.", may_lack=True)
    delinquent: str = column("delinquent", "truth", "Column of whether the latest charge failed.", may_lack=True)


class SubscriptionsTable(SyncedTable):
    """Stripe's subscriptions."""

    table: str = Field(default="subscriptions", min_length=1, description="Name of the table of subscriptions.")
    customer_id: str = column("customer_id", "text", "Column of the customer (cus_…).")
    status: str = column("status", "text", "Column of the status, kept as Stripe says it.")
    price_id: str = column("price_id", "text", "Column of the price of the first item (price_…).", may_lack=True)
    quantity: str = column("quantity", "whole", "Column of the quantity of the first item.", may_lack=True)
    current_period_start: str = column(
        "current_period_start", "moment", "Column of the latest start of an item's period.", may_lack=True
    )
    current_period_end: str = column(
        "current_period_end", "moment", "Column of the earliest end of an item's period.", may_lack=True
    )
    cancel_at_period_end: str = column(
        "cancel_at_period_end", "truth", "Column of whether it ends with its period.", may_lack=True
    )
    paused: str = column("paused", "truth", "Column of whether collection is paused.", may_lack=True)


class InvoicesTable(SyncedTable):
    """Stripe's invoices."""

    table: str = Field(default="invoices", min_length=1, description="Name of the table of invoices.")
    customer_id: str = column("customer_id", "text", "Column of the customer (cus_…).")
    subscription_id: str = column("subscription_id", "text", "Column of the subscription (sub_…).", may_lack=True)
    status: str = column("status", "text", "Column of the status, kept as Stripe says it.")
    currency: str = column("currency", "text", "Column of the currency.", may_lack=True)
    amount_due: str = column("amount_due", "whole", "Column of what is owed, in minor units.", may_lack=True)
    amount_paid: str = column("amount_paid", "whole", "Column of what was paid, in minor units.", may_lack=True)


class PaymentsTable(SyncedTable):
    """Stripe's payment intents, with their charge and the invoice they pay."""

    table: str = Field(default="payments", min_length=1, description="Name of the table of payments.")
    customer_id: str = column("customer_id", "text", "Column of the customer (cus_…).")
    invoice_id: str = column("invoice_id", "text", "Column of the invoice that it pays (in_…).", may_lack=True)
    status: str = column("status", "text", "Column of the status, kept as Stripe says it.")
    currency: str = column("currency", "text", "Column of the currency.", may_lack=True)
    amount: str = column("amount", "whole", "Column of the amount, in minor units.", may_lack=True)
    amount_received: str = column("amount_received", "whole", "Column of what was received.", may_lack=True)
    charge_id: str = column("charge_id", "text", "Column of the latest charge (ch_…).", may_lack=True)
    refunded_amount: str = column("refunded_amount", "whole", "Column of what was given back.", may_lack=True)


class StripeEventsTable(AppTable):
    """The events that Stripe sent, and what became of each: the live endpoint and the replay share it."""

    primary_key: ClassVar[tuple[str, ...]] = ("account", "event_id")
    table: str = Field(default="stripe_events", min_length=1, description="Name of the table of events.")
    account: str = column("account", "text", "Column of the account (acct_…).")
    event_id: str = column("event_id", "text", "Column of the event (evt_…).")
    type: str = column("type", "text", "Column of the event's type.")
    object_id: str = column("object_id", "text", "Column of the object that the event is about.")
    created: str = column("created", "moment", "Column of when the event was made.")
    api_version: str = column("api_version", "text", "Column of the version the event is rendered in.")
    livemode: str = column("livemode", "truth", "Column of whether the event is of live mode.")
    payload: str = column("payload", "json", "Column of the event's body.")
    status: str = column("status", "text", "Column of what became of the event.")
    attempts: str = column("attempts", "whole", "Column of how often it was tried.")
    lease_until: str = column("lease_until", "moment", "Column of until when somebody works at it.")
    claimed_by: str = column("claimed_by", "text", "Column of who works at it.")
    next_attempt_at: str = column("next_attempt_at", "moment", "Column of when it is tried again.")
    error_class: str = column("error_class", "text", "Column of the kind of its last error.")
    error: str = column("error", "text", "Column of its last error.")
    source: str = column("source", "text", "Column of where the event came from.")
    run_id: str = column("run_id", "text", "Column of the run that brought it in.")
    received_at: str = column("received_at", "moment", "Column of when it came in.")
    processed_at: str = column("processed_at", "moment", "Column of when it was done.")


class EventEffectsTable(AppTable):
    """Which effect of which event was done."""

    primary_key: ClassVar[tuple[str, ...]] = ("account", "event_id", "handler")
    table: str = Field(default="event_effects", min_length=1, description="Name of the table of effects.")
    account: str = column("account", "text", "Column of the account (acct_…).")
    event_id: str = column("event_id", "text", "Column of the event (evt_…).")
    handler: str = column("handler", "text", "Column of the name of the effect.")
    done_at: str = column("done_at", "moment", "Column of when it was done.")
    note: str = column("note", "text", "Column of what was done.", may_lack=True)
