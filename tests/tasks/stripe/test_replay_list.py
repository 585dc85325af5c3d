"""How a window is asked for: half-open parts, types in groups, thin events by the address of the next page."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.stripe_errors import StripeMissing
from tasks.stripe.event_subject import NEVER_MADE
from tasks.stripe.replay_list import completed, event_of, pages, questions, thin_pages


class Asked:
    """Gives prepared answers, and keeps what was asked."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers, self.seen = list(answers), []

    def get(self, path: str, params: dict[str, Any] | None = None) -> bytes:
        self.seen.append((path, dict(params or {})))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return json.dumps(answer).encode()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**9), st.integers(0, 10**7), st.integers(1, 8), st.integers(0, 45))
def test_every_second_and_every_type_is_asked_for_exactly_once(low, length, windows, count):
    """The parts are half-open and next to one another, and no question has more than twenty types."""
    types = tuple(f"a.{n}" for n in range(count))
    asked = questions(float(low), low + length, (*types, *types[:1]), windows)
    spans = sorted({(each["created"]["gte"], each["created"]["lt"]) for each in asked})
    assert sum(last - first for first, last in spans) == length
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))
    for span in spans:
        groups = [each.get("types", []) for each in asked if each["created"]["gte"] == span[0]]
        assert sorted(kind for group in groups for kind in group) == sorted(types)
        assert max(map(len, groups)) <= 20


def test_a_list_is_read_to_its_end():
    """From the last event of each page on, with the same question."""
    api = Asked({"data": [{"id": "evt_2"}], "has_more": True}, {"data": [{"id": "evt_1"}], "has_more": False})
    assert [body["id"] for page in pages(api, {"limit": 100}) for body in page] == ["evt_2", "evt_1"]
    assert api.seen == [("/v1/events", {"limit": 100}), ("/v1/events", {"limit": 100, "starting_after": "evt_2"})]


def test_an_event_that_grows_too_old_between_two_pages_ends_the_list():
    """All that comes after it is older still."""
    api = Asked({"data": [{"id": "evt_1"}], "has_more": True}, StripeMissing("No such event: 'evt_1'"))
    assert list(pages(api, {"limit": 100})) == [[{"id": "evt_1"}]]


def test_thin_events_are_read_by_the_address_of_the_next_page():
    """The first question names the window in words; the addresses say it again."""
    api = Asked({"data": [{"id": "a"}], "next_page_url": "/v2/core/events?page=x"}, {"data": [], "next_page_url": None})
    assert [body["id"] for page in thin_pages(api, 0, 3600, ()) for body in page] == ["a"]
    bounds = {"gte": "1970-01-01T00:00:00.000Z", "lt": "1970-01-01T01:00:00.000Z"}
    assert api.seen == [("/v2/core/events", {"limit": 100, "created": bounds}), ("/v2/core/events?page=x", {})]


def test_types_that_are_not_thin_cost_no_request_for_thin_events():
    """And thin types are not asked of the list that does not know them."""
    api = Asked({"data": [], "next_page_url": None})
    assert list(thin_pages(api, 0, 1, ("invoice.paid",))) == []
    assert list(thin_pages(api, 0, 1, ("invoice.paid", "v2.a.b"))) == [[]]
    assert [params["types"] for _, params in api.seen] == [["v2.a.b"]]
    assert [each["types"] for each in questions(0, 1, ("invoice.paid", "v2.a.b"), 1)] == [["invoice.paid"]]


def test_an_announcement_is_asked_what_it_names_only_when_it_does_not_say():
    """What an event carries is kept with it."""
    thin = {"id": "evt_1", "object": "v2.core.event", "type": NEVER_MADE, "created": "2026-01-01T00:00:00.000Z"}
    told = thin | {"data": {"impact": {"related_object": {"id": "in_1", "type": "invoice"}}}}
    api = Asked(told)
    found = completed(api, event_of(thin, "acct_1"))
    assert found.named == (("", "invoice", "in_1"),)
    assert json.loads(found.payload) == told
    assert completed(api, found) is found
    assert api.seen == [("/v2/core/events/evt_1", {})]
    assert found.created == 1767225600.0
