"""A logical copy is practised with when there is one, by a version that can read it; files and WAL do not matter."""

from __future__ import annotations

import pytest

from blocks.backup_records import Dump
from tasks.backups.decide_drill import decide_drill
from tasks.backups.policies import DrillPolicy
from tests.tasks.backups.worlds import a_set, gone, listing, view

COPY = Dump(file="6f.dump", database="orders", bytes=10, sha256="0")


def world(*sets):
    return view(kept=listing(*sets))


def test_the_newest_logical_copy_is_taken_also_of_a_set_whose_files_are_bad():
    """What is wrong with files says nothing of what was read row by row."""
    sets = (a_set("s1", days=3, dumps=(COPY,)), a_set("s2", 3, days=2, dumps=(COPY,), bad="a page"), a_set("s3", 4))
    decision = decide_drill(world(*sets), DrillPolicy(what="dump"), gone("scratch"))
    assert decision.plan is not None, decision.why
    assert (decision.plan.way, decision.plan.chains, decision.plan.in_place) == ("dump", (("s2",),), False)


@pytest.mark.parametrize(
    ("said", "dumps", "policy", "place"),
    [
        ("No set has a logical copy: turn on `dumps`", (), {}, {}),
        ("The set s9 has no logical copy", (COPY,), {"target": "set", "to": "s9"}, {}),
        ("is of the moment at which its set was taken", (COPY,), {"target": "time", "to": "2026-11-01"}, {}),
        ("it is too old", (COPY,), {}, {"major": 17}),
        ("are free in the scratch folder", (COPY,), {}, {"free_bytes": 1}),
        ("does not see the repository", (COPY,), {}, {"sees_repository": False}),
    ],
)
def test_what_cannot_be_loaded_is_refused_before_anything(said, dumps, policy, place):
    """Each refusal says what to do."""
    decision = decide_drill(
        world(a_set(dumps=dumps)), DrillPolicy(what="dump", **policy), gone("scratch").model_copy(update=place)
    )
    assert decision.plan is None
    assert said in decision.why
