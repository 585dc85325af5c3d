"""Two sides held against each other, and how a value is written on both."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.stripe.copy_format import plain, text
from tasks.stripe.drift import Difference, Ours, Theirs, changed_fields, differences, told_at

ids = st.text(min_size=1, max_size=3)
theirs = st.dictionaries(ids, st.sampled_from("ab"), max_size=12)
ours = st.dictionaries(ids, st.tuples(st.sampled_from("ab"), st.booleans(), st.booleans()), max_size=12)


def expected(stripe: dict[str, str], rows: dict[str, tuple[str, bool, bool]]) -> dict[str, str]:
    """Say by dictionaries what the merge says by walking."""
    found = {}
    for key in stripe.keys() | rows.keys():
        line, deleted, inside = rows.get(key, ("", False, True))
        if key not in rows:
            found[key] = "insert"
        elif key in stripe and (deleted or line != stripe[key]):
            found[key] = "revive" if deleted else "update"
        elif key not in stripe and not deleted and inside:
            found[key] = "tombstone"
    return found


@settings(max_examples=150, deadline=None)
@given(theirs, ours)
def test_the_merge_finds_what_a_dictionary_would(stripe, rows):
    """Each id once, in order, with the right operation; a row of another time than is compared is never missed."""
    one = (Theirs(key, stripe[key], 1.0) for key in sorted(stripe))
    other = (Ours(key, rows[key][0], rows[key][1], "", rows[key][2]) for key in sorted(rows))
    found = list(differences(one, other))
    assert {each.id: each.operation for each in found} == expected(stripe, rows)
    assert [each.id for each in found] == sorted(each.id for each in found)


@given(st.text())
def test_a_value_is_one_field_of_one_line_and_reads_back(value):
    """Whatever Stripe holds; the character 0, which PostgreSQL cannot keep, is left out."""
    written = text(value)
    assert not set(written) & set("\t\n\r")
    assert plain(written) == value.replace("\0", "")


def test_old_and_new_of_each_changed_field_are_told():
    """NULL is told apart from a text, and a row that comes back says so."""
    found = Difference("x", "revive", "a\t\\N\tt", "a\tb\tf", 1.0, "")
    assert changed_fields(("one", "two", "three"), found) == {
        "two": ("b", None),
        "three": ("f", "t"),
        "deleted": ("yes", "no"),
    }


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1970-01-01 00:01:00.5+00", 60.5),
        ("-infinity", -math.inf),
        ("infinity", math.inf),
        ("\\N", -math.inf),
    ],
)
def test_when_a_row_was_looked_at_is_read(said, seconds):
    """As the database writes it, also when it never was."""
    assert told_at(said) == seconds
