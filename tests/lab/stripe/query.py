"""Bracketed parameters of the wire, read into nested values: `created[gte]=1`, `types[0]=a`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode


def read(encoded: bytes | str) -> dict[str, Any]:
    """Read a query or a form."""
    text = encoded.decode() if isinstance(encoded, bytes) else encoded
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        top, _, rest = name.partition("[")
        path = [top, *(part.rstrip("]") for part in rest.split("["))] if rest else [top]
        _put(found, path, value)
    return {name: _listed(value) for name, value in found.items()}


def write(params: dict[str, Any]) -> str:
    """Write them again, as an address has them."""
    return urlencode(list(_flat(params, "")))


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(each, f"{name}[{key}]" if name else str(key))
    else:
        yield name, value


def _put(into: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        inner = into.setdefault(part, {})
        if not isinstance(inner, dict):
            inner = into[part] = {}
        into = inner
    last = path[-1] or str(len(into))
    into[last] = value


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(each) for name, each in value.items()}
    return list(inner.values()) if inner and all(name.isdigit() for name in inner) else inner
