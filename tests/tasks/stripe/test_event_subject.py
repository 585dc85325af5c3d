"""Which row an event is about, which objects it names, and which events are done together."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.stripe.event_subject import NEVER_MADE, ROWS, about, grouped, named_in
from tasks.stripe.replay_state import Event

THINGS = [
    ({"object": "customer", "id": "cus_1"}, ("customers", "cus_1")),
    ({"object": "subscription", "id": "sub_1"}, ("subscriptions", "sub_1")),
    ({"object": "invoice", "id": "in_1"}, ("invoices", "in_1")),
    ({"object": "payment_intent", "id": "pi_1"}, ("payments", "pi_1")),
    ({"object": "charge", "id": "ch_1", "payment_intent": "pi_1"}, ("payments", "pi_1")),
    ({"object": "charge", "id": "ch_1", "payment_intent": {"id": "pi_1"}}, ("payments", "pi_1")),
    ({"object": "charge", "id": "ch_1", "payment_intent": None}, ("", "")),
    ({"object": "refund", "id": "re_1", "payment_intent": "pi_1"}, ("payments", "pi_1")),
    ({"object": "invoice_payment", "id": "inpay_1", "payment": {"payment_intent": "pi_1"}}, ("payments", "pi_1")),
    ({"object": "invoice_payment", "id": "inpay_1", "payment": {"charge": "ch_1"}}, ("", "")),
    ({"object": "invoice"}, ("", "")),
    ({"object": "radar.thing", "id": "rt_1"}, ("", "rt_1")),
    ({}, ("", "")),
]


@pytest.mark.parametrize(("thing", "row"), THINGS)
def test_an_event_is_about_the_row_that_its_object_changes(thing, row):
    """A charge, a refund and an invoice payment are about their payment; what has no row of ours has no table."""
    assert about({"object": "event", "data": {"object": thing}}) == row


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {"object": None}}, {"object": "v2.core.event"}])
def test_an_event_without_an_object_is_about_nothing(body):
    """However it lacks."""
    assert about(body) == ("", "")


def test_a_thin_event_is_about_the_object_it_names():
    """If the kind is one of ours; of a charge only a lookup could tell the payment."""
    thin = {"object": "v2.core.event", "related_object": {"id": "cus_1", "type": "customer"}}
    assert about(thin) == ("customers", "cus_1")
    assert about(thin | {"related_object": {"id": "ch_1", "type": "charge"}}) == ("", "")


def test_what_could_not_be_told_is_named_by_kind_id_and_account():
    """Also of several, also in a connected account; a text that looks like an id is none."""
    told = {"related_object": {"id": "in_1", "type": "invoice"}}
    more = {"context": "acct_2", "related_object": {"id": "ch_1", "type": "charge"}}
    odd = {"summary": "in_progress", "related_object": {"id": "x_1", "type": "radar.thing"}}
    body = {"type": NEVER_MADE, "data": {"impact": told, "others": [more, odd, told]}}
    assert named_in(body) == (("", "invoice", "in_1"), ("acct_2", "charge", "ch_1"))
    assert named_in(body | {"type": "invoice.paid"}) == ()
    assert named_in({"type": NEVER_MADE}) == ()


def event(number: int, account: str, table: str, thing: str, created: float) -> Event:
    return Event(account, f"evt_{number}", "a.b", table, thing if table else "", created, "", False, "{}")


EVENTS = st.lists(
    st.builds(
        event,
        st.integers(0, 20),
        st.sampled_from(["acct_1", "acct_2"]),
        st.sampled_from(["customers", "invoices", ""]),
        st.sampled_from(["x_1", "x_2", "x_3"]),
        st.sampled_from([1.0, 2.0]),
    ),
    unique_by=lambda e: (e.account, e.id),
)


@settings(deadline=None, max_examples=60)
@given(EVENTS, st.randoms())
def test_any_order_of_arrival_gives_the_same_groups(events, chance):
    """Duplicates as well: each event is in one group, with those of its object and account only."""
    shuffled = [*events, *chance.choices(events, k=3)] if events else []
    chance.shuffle(shuffled)
    groups = grouped(shuffled)
    assert groups == grouped(events)
    assert sorted((e.account, e.id) for g in groups for e in g.events) == sorted((e.account, e.id) for e in events)
    for group in groups:
        assert {(e.account, e.table) for e in group.events} == {(group.account, group.table)}
        assert group.table == "" or {e.object_id for e in group.events} == {group.object_id}
        assert group.table != "" or len(group.events) == 1
    assert len({(g.account, g.table, g.object_id) for g in groups}) == len(groups)


def test_every_kind_leads_to_a_table_that_is_compared():
    """No kind leads astray."""
    assert {table for table, _ in ROWS.values()} == {"customers", "subscriptions", "invoices", "payments"}
