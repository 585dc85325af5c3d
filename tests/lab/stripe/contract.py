"""What a request may say: read from the installed SDK's own services and their typed parameters.

Each method of a `*_service.py` names its verb, its path and the TypedDict of its parameters. From these a strict
pydantic adapter is made for each route; Stripe's documented rules that no type says are added by hand.
"""

from __future__ import annotations

import ast
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NotRequired, Union

import stripe
import typing_extensions
from pydantic import ConfigDict, TypeAdapter, ValidationError
from stripe import _request_options
from stripe._stripe_object import UntypedStripeObject
from typing_extensions import TypedDict

from tests.lab.stripe.refusal import StripeRefusal

ROOT = Path(stripe.__file__).parent
#: Services of what the fake models; the contract of the others would never be asked.
SERVICES = (
    "_account_service",
    "_balance_service",
    "_charge_service",
    "_customer_service",
    "_event_service",
    "_invoice_payment_service",
    "_invoice_service",
    "_payment_intent_service",
    "_price_service",
    "_product_service",
    "_refund_service",
    "_subscription_item_service",
    "_subscription_service",
    "_webhook_endpoint_service",
    "v2.core._event_service",
)
FORBID = ConfigDict(extra="forbid")
OPTIONS = set(_request_options.RequestOptions.__annotations__)
#: What the annotations of RequestOptions name, in the modules that inherit them.
ELSEWHERE = {**vars(_request_options), "StripeContext": str}
PAGE = 100


@dataclass(frozen=True)
class Route:
    """One named operation of the API: what Stripe calls an endpoint, and limits the rate of."""

    method: str
    template: str
    module: str
    params: str

    @property
    def name(self) -> str:
        """How it is called in limits, faults and the journal of requests."""
        return f"{self.method.upper()} {self.template}"

    @cached_property
    def adapter(self) -> TypeAdapter[Any] | None:
        """The strict form of its parameters; None when it takes none."""
        if not self.params:
            return None
        shape = getattr(import_module(self.module), self.params)
        extra = {"page": NotRequired[str]} if self.template.startswith("/v2/") else {}
        return TypeAdapter(strict(shape, extra))

    def accept(self, wire: dict[str, Any]) -> dict[str, Any]:
        """Give the values of WIRE in their types, or refuse as Stripe does."""
        try:
            given: dict[str, Any] = self.adapter.validate_python(wire) if self.adapter else _nothing(wire)
        except ValidationError as error:
            raise _refusal(error) from None
        _documented(given)
        return given


def strict(shape: Any, extra: dict[str, Any] | None = None) -> Any:
    """Copy an annotation so that unknown keys and unknown members of an enumeration are errors."""
    if typing_extensions.is_typeddict(shape):
        hints = typing_extensions.get_type_hints(shape, localns=ELSEWHERE, include_extras=True)
        fields = {name: strict(hint) for name, hint in hints.items() if name not in OPTIONS} | (extra or {})
        made = TypedDict(shape.__name__, fields)  # type: ignore[operator]  # the functional form, from data
        made.__pydantic_config__ = FORBID
        return made
    origin, inner = typing.get_origin(shape), typing.get_args(shape)
    if origin is None or origin is Literal:
        return shape
    if origin in (Union, types.UnionType):
        return Union[tuple(strict(each) for each in _closed(inner))]  # noqa: UP007 - made from data
    if origin is UntypedStripeObject:
        return dict[str, Any]
    return origin[tuple(strict(each) for each in inner)] if origin is not NotRequired else NotRequired[strict(inner[0])]


def _closed(members: tuple[Any, ...]) -> tuple[Any, ...]:
    """Drop the `str` that only keeps the SDK open to members of an enumeration that are still to come."""
    literals = {value for each in members if typing.get_origin(each) is Literal for value in typing.get_args(each)}
    return tuple(each for each in members if each is not str) if literals - {""} else members


@cache
def routes() -> dict[str, list[tuple[re.Pattern[str], Route]]]:
    """Read all routes of the modelled services, by method; the literal ones come first."""
    found: dict[str, list[tuple[re.Pattern[str], Route]]] = {"get": [], "post": [], "delete": []}
    for service in SERVICES:
        for route in _routes_of(service):
            pattern = re.sub(r"\\\{\w+\\\}", r"([^/]+)", re.escape(route.template))
            found[route.method].append((re.compile(pattern), route))
    for listed in found.values():
        listed.sort(key=lambda pair: pair[1].template.count("{"))
    return found


def route_of(method: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
    """Find the route of a request, and the ids in its path."""
    for pattern, route in routes().get(method.lower(), ()):
        if match := pattern.fullmatch(path):
            return route, match.groups()
    return None


def _routes_of(service: str) -> Iterator[Route]:
    text = (ROOT / f"{service.replace('.', '/')}.py").read_text()
    tree = ast.parse(text)
    modules = {
        alias.name: node.module or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    for method in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        params = _params_of(method)
        for call in (node for node in ast.walk(method) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "_request":
                yield Route(_text(call.args[0]), _text(call.args[1]), modules.get(params, ""), params)


def _text(node: ast.expr) -> str:
    """Take the literal out of `"/v1/x/{id}"` or `"/v1/x/{id}".format(...)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = node.func.value
    return str(ast.literal_eval(node))


def _params_of(method: ast.FunctionDef) -> str:
    for arg in method.args.args:
        if arg.arg == "params" and arg.annotation is not None:
            named = re.search(r"(\w+Params)\b", ast.unparse(arg.annotation))
            return named.group(1) if named else ""
    return ""


def _nothing(wire: dict[str, Any]) -> dict[str, Any]:
    for name in wire:
        raise _unknown(name)
    return {}


def _unknown(name: str) -> StripeRefusal:
    return StripeRefusal(400, f"Received unknown parameter: {name}", code="parameter_unknown", param=name)


def _refusal(error: ValidationError) -> StripeRefusal:
    errors = error.errors()
    first = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    place = [str(part) for part in first["loc"] if not re.search(r"[A-Z\[]|^(int|str|bool|list)$", str(part))]
    name = place[0] + "".join(f"[{part}]" for part in place[1:]) if place else ""
    if first["type"] == "extra_forbidden":
        return _unknown(name)
    if first["type"] == "missing":
        return StripeRefusal(400, f"Missing required param: {name}.", code="parameter_missing", param=name)
    if first["type"].startswith("int"):
        said = f"Invalid integer: {first['input']}"
        return StripeRefusal(400, said, code="parameter_invalid_integer", param=name)
    return StripeRefusal(400, f"Invalid {name}: {first['input']!r} ({first['msg']})", param=name)


def _documented(given: dict[str, Any]) -> None:
    """Apply what the reference says and no type does."""
    limit = given.get("limit")
    if limit is not None and not 1 <= limit <= PAGE:
        said = f"This value must be {'less than or equal to 100' if limit > PAGE else 'greater than or equal to 1'}."
        raise StripeRefusal(400, said, code="parameter_invalid_integer", param="limit")
    if len(given.get("types", ())) > 20:
        raise StripeRefusal(400, "You may pass at most 20 types.", param="types")
    for one, other in (("type", "types"), ("starting_after", "ending_before")):
        if one in given and other in given:
            said = f"You may only specify one of these parameters: {one}, {other}."
            raise StripeRefusal(400, said, param=other)
