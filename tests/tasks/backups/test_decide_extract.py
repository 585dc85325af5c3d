"""Which tables are brought back is decided by what the set and the primary know; what cannot be is refused at once."""

from __future__ import annotations

import pytest

from tasks.backups.decide_extract import decide_extract
from tasks.backups.extract_state import Beside, Copied, ExtractPlan, ExtractPolicy, Ground, Left, Table, parted
from tasks.backups.judge_extract import judge_extract, next_steps, sum_up_extract
from tasks.backups.state import Recovered
from tests.tasks.backups.worlds import NOW, SYSTEM, gone, primary, standby, view

ORDERS = Table(schema_name="public", name="orders", there=True, bytes=2**20)
GROUND = Ground(database="orders", databases=("orders", "other"), schemas=(Left(schema_name="mine", mark=""),))


def wanted(*tables: str, **policy: object) -> ExtractPolicy:
    return ExtractPolicy.model_validate({"tables": list(tables or ["public.orders"])} | policy)


def ground(*tables: Table, **given: object) -> Ground:
    return GROUND.model_copy(update={"tables": tables or (ORDERS,)} | given)


def plan(policy: ExtractPolicy | None = None, on: Ground | None = None) -> ExtractPlan:
    decision = decide_extract(view(), policy or wanted(), gone("scratch"), on or ground())
    assert decision.plan is not None, decision.why
    return decision.plan


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("public.orders", ("public", "orders")),
        ("public.Orders", ("public", "Orders")),
        ('"a.b"."c ""d"" e"', ("a.b", 'c "d" e')),
        ('public."a.b"', ("public", "a.b")),
        ("orders", None),
        ("a.b.c", None),
        ('public."orders', None),
        ("public.", None),
        ("", None),
    ],
)
def test_a_name_is_read_as_it_is_written(text: str, parts: tuple[str, str] | None) -> None:
    """Both parts are there, quotes are taken off, and nothing is folded to lower case."""
    assert parted(text) == parts


@pytest.mark.parametrize(
    ("said", "policy", "on"),
    [
        ("Say in `tables`", ExtractPolicy(), ground()),
        ("`orders` is no table with its schema", wanted("orders"), ground()),
        ("Two of the tables are called orders", wanted("public.orders", "other.orders"), ground()),
        ("There is no database `nope`", wanted(), ground(database="nope")),
        ("It is not clear which is meant", wanted(), ground(database="")),
        ("GRANT CREATE ON DATABASE", wanted(), ground(may_create=False)),
        ("The publication everything sends", wanted(), ground(published="everything")),
        ("could not be looked at: no answer", wanted(), ground(problem="no answer")),
        ("already a schema mine", wanted(into_schema="mine"), ground()),
        ("belong to PostgreSQL", wanted(into_schema="pg_mine"), ground()),
        ("There is no table public.nope in orders", wanted("public.nope"), ground()),
        ("public.v cannot be copied: it is a view", wanted("public.v"),
         ground(Table(schema_name="public", name="v", there=True, unfit="it is a view"))),
        ("MB are free on n1", wanted(), ground(ORDERS.model_copy(update={"bytes": 2**50}))),
        ("future", wanted(target="time", to="2030-01-01 00:00+00:00"), ground()),
    ],
)  # fmt: skip
def test_what_cannot_be_brought_back_is_refused(said: str, policy: ExtractPolicy, on: Ground) -> None:
    """Each refusal says what to mend, before anything is restored."""
    decision = decide_extract(view(), policy, gone("scratch"), on)
    assert (decision.verdict, said in decision.why) == ("refuse", True), decision.why


def test_without_one_primary_there_is_nowhere_to_bring_them() -> None:
    """None, and two, are refused."""
    for places in ((standby(),), (primary(), primary("n2"))):
        decision = decide_extract(view(*places), wanted(), gone("scratch"), ground())
        assert (decision.verdict, "no single node" in decision.why) == ("refuse", True), decision.why


def test_a_table_that_was_dropped_is_known_to_the_set() -> None:
    """It is not there now, and was counted; a partition is not counted, so only the copy can say."""
    lost = ORDERS.model_copy(update={"there": False, "unfit": "there is none"})
    assert plan(on=ground(lost)).tables == (("public", "orders"),)
    part = lost.model_copy(update={"name": "orders_2026"})
    assert plan(wanted("public.orders_2026"), ground(part, partitioned=("public",))).labels == "public.orders_2026"


def test_what_a_run_that_died_has_left_is_known_and_its_name_can_be_had_again() -> None:
    """Also what the run before that one has left; in another database nothing is looked for."""
    first = plan(wanted(into_schema="mine"), ground(schemas=()))
    second = plan(wanted(into_schema="mine"), ground(schemas=(Left(schema_name="mine", mark=first.mark),), dead=first))
    assert second.left == (Left(schema_name="mine", mark=first.mark),)
    third = plan(on=ground(dead=second))
    assert [each.schema_name for each in third.left] == ["mine", "mine"]
    assert third.into == f"salvor_{NOW:%Y%m%dt%H%M%Sz}"
    assert plan(on=ground(database="other", dead=second)).left == ()
    assert first.digest == plan().digest


def recovered(**given: object) -> Recovered:
    seen = {"answers": True, "primary": True, "timeline": 2, "system_identifier": SYSTEM, "stopped": "it left there"}
    return Recovered.model_validate(seen | given)


@pytest.mark.parametrize(
    ("fails", "table", "copy_said"),
    [
        ("", {}, {}),
        ("has public.orders", {"there": 9, "same": False}, {}),
        ("has public.orders", {"same": False}, {}),
        ("has public.orders", {"problem": "no answer"}, {}),
        ("no further", {}, {"stopped": "no recovery target specified"}),
        ("same cluster", {}, {"system_identifier": "78"}),
        ("archived nothing", {}, {"archiving": True}),
    ],
)
def test_it_is_judged_by_every_row(fails: str, table: dict[str, object], copy_said: dict[str, object]) -> None:
    """As many rows that are not the same are no copy; a copy of another moment or cluster is none."""
    seen = {"label": "public.orders", "kept": 10, "there": 10, "same": True, "missing": 3, "different": 1}
    seen |= {"back": "INSERT", "look": "SELECT"}
    beside = Beside(copy_said=recovered(**copy_said), tables=(Copied.model_validate(seen | table),))
    found = judge_extract(plan(), beside, left="")
    failed = [each.claim for each in found if not each.holds]
    assert [fails in claim for claim in failed] == ([True] if fails else []), failed
    assert "3 are missing and 1 are different" in sum_up_extract(plan(), beside)
    assert "To bring back what is missing in public.orders: INSERT;" in next_steps(plan(), beside)
