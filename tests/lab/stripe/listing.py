"""Lists: newest first, a page at a time, narrowed by the parameters of the request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from tests.lab.stripe.collection import GONE, Collection, Object, Wanted
from tests.lab.stripe.refusal import missing
from tests.lab.stripe.shapes import DAY
from tests.lab.stripe.universe import Universe

Params = dict[str, Any]
Test = Callable[[Object], bool]
BOUNDS = {"gt": lambda a, b: a > b, "gte": lambda a, b: a >= b, "lt": lambda a, b: a < b, "lte": lambda a, b: a <= b}
#: Parameters that are a field of the object with the same value.
EQUAL = ("email", "collection_method", "charge")
NARROW = ("subscription", "invoice", "payment_intent", "customer")


def page(universe: Universe, kind: str, params: Params) -> tuple[list[int], bool]:
    """Choose the objects of a page, and say whether there are more."""
    held, limit = universe[kind], params.get("limit", 10)
    low, high = held.span(*_created(params))
    if kind == "event":
        low = max(low, held.span(int(universe.now() - universe.world.horizon_days * DAY), None)[0])
    wanted = _wanted(held, kind, params)
    parent = _parent(params)
    found = (
        _of_parent(held, parent, (low, high), params, wanted)
        if parent
        else _in_order(held, (low, high), params, wanted)
    )
    chosen = list(islice(found, limit + 1))
    more, chosen = len(chosen) > limit, chosen[:limit]
    return (chosen[::-1] if "ending_before" in params else chosen), more


def _in_order(held: Collection, span: tuple[int, int], params: Params, wanted: Wanted) -> Iterator[int]:
    low, high = span
    if "ending_before" in params:
        return held.oldest(max(low, _cursor(held, params, "ending_before") + 1), high, wanted)
    if "starting_after" in params:
        high = min(high, _cursor(held, params, "starting_after"))
    return held.newest(low, high, wanted)


def _of_parent(
    held: Collection, parent: tuple[str, str], span: tuple[int, int], params: Params, wanted: Wanted
) -> Iterator[int]:
    low, high = span
    backwards = "ending_before" in params
    if backwards:
        low = max(low, _cursor(held, params, "ending_before") + 1)
    if "starting_after" in params:
        high = min(high, _cursor(held, params, "starting_after"))
    children = held.children(*parent)
    ordered = reversed(children) if backwards else iter(children)
    return (each for each in ordered if low <= held.position(each) < high and wanted(each))


def _cursor(held: Collection, params: Params, name: str) -> int:
    ordinal = held.ordinal(params[name])
    if ordinal is None:
        raise missing(held.kind, params[name], name, 400)
    return held.position(ordinal)


def _created(params: Params) -> tuple[int | None, int | None]:
    """Turn `created` into [low, high)."""
    given = params.get("created")
    if given is None or isinstance(given, int):
        return (None, None) if given is None else (given, given + 1)
    low = [given["gte"]] if "gte" in given else []
    low += [given["gt"] + 1] if "gt" in given else []
    high = [given["lt"]] if "lt" in given else []
    high += [given["lte"] + 1] if "lte" in given else []
    return max(low, default=None), min(high, default=None)


def _parent(params: Params) -> tuple[str, str] | None:
    payment = params.get("payment") or {}
    known = {**params, **({"payment_intent": payment["payment_intent"]} if "payment_intent" in payment else {})}
    return next(((name, known[name]) for name in NARROW if isinstance(known.get(name), str)), None)


def _wanted(held: Collection, kind: str, params: Params) -> Wanted:
    marks, tests = held.marks, _tests(kind, params)
    codes = _statuses(held, kind, params)
    if not tests and codes is None:
        return lambda ordinal: marks[ordinal] != GONE
    if not tests and codes is not None:
        return lambda ordinal: marks[ordinal] in codes
    return lambda ordinal: (
        (marks[ordinal] in codes if codes is not None else marks[ordinal] != GONE)
        and all(test(held.at(ordinal)) for test in tests)
    )


def _statuses(held: Collection, kind: str, params: Params) -> frozenset[int] | None:
    """Give the marks that a status stands for; None is every one."""
    status = params.get("status")
    if kind == "subscription":
        if status == "all":
            return None
        if status is None:
            return frozenset(range(GONE)) - {held.code("canceled")}
        if status == "ended":
            return frozenset({held.code("canceled"), held.code("incomplete_expired")})
    return None if status is None else frozenset({held.code(status)})


def _tests(kind: str, params: Params) -> list[Test]:
    tests: list[Test] = [_same(name, params[name]) for name in (*EQUAL, *NARROW) if name in params]
    if kind == "event":
        tests = _event_tests(params)
    if "price" in params and kind == "subscription":
        tests.append(lambda o: any(each["price"]["id"] == params["price"] for each in o["items"]["data"]))
    for name, pick in (("current_period_end", min), ("current_period_start", max)):
        if name in params:
            tests.append(_period(name, pick, params[name]))
    return tests


def _same(name: str, value: Any) -> Test:
    def test(o: Object) -> bool:
        parent = o.get("parent")
        if name == "subscription" and isinstance(parent, dict):
            return bool(parent["subscription_details"]["subscription"] == value)
        return bool(o.get(name) == value)

    return test


def _period(name: str, pick: Callable[..., int], bounds: Any) -> Test:
    wanted = bounds if isinstance(bounds, dict) else {"gte": bounds, "lte": bounds}

    def test(o: Object) -> bool:
        moment = pick(each[name] for each in o["items"]["data"])
        return all(BOUNDS[bound](moment, value) for bound, value in wanted.items())

    return test


def _event_tests(params: Params) -> list[Test]:
    tests: list[Test] = []
    if names := params.get("types") or ([params["type"]] if "type" in params else []):
        exact = frozenset(name for name in names if not name.endswith("*"))
        begins = tuple(name[:-1] for name in names if name.endswith("*"))
        tests.append(lambda o: o["type"] in exact or bool(begins and o["type"].startswith(begins)))
    if (wanted := params.get("delivery_success")) is not None:
        tests.append(lambda o: (o["pending_webhooks"] == 0) is wanted)
    return tests
