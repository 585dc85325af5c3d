"""The one variable of an environment file that holds a database URL: where it leads, and leading it elsewhere. Pure."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from blocks.errors import Misconfigured


def pointed(text: str, variable: str, host: str, port: int) -> str:
    """Put HOST and PORT into the URL of VARIABLE; every other character of TEXT stays."""
    place = _place(text, variable)
    old = place["value"]
    url = _url(old, variable)
    user, at, _ = url.netloc.rpartition("@")
    name = f"[{host}]" if ":" in host else host
    new = url._replace(netloc=f"{user}{at}{name}:{port}").geturl()
    return f"{text[: place.start('value')]}{new}{text[place.end('value') :]}"


def address_in(text: str, variable: str) -> str:
    """Give host:port of the URL of VARIABLE."""
    url = _url(_place(text, variable)["value"], variable)
    return f"{url.hostname}:{url.port or 5432}"


def _place(text: str, variable: str) -> re.Match[str]:
    pattern = rf"""^[ \t]*(?:export[ \t]+)?{variable}[ \t]*=[ \t]*(["']?)(?P<value>[^"'\s]*)\1"""
    found = list(re.finditer(pattern, text, re.MULTILINE))
    if len(found) != 1:
        number = "no line" if not found else f"{len(found)} lines"
        raise Misconfigured(f"The file has {number} for {variable}: exactly one must say where the database is.")
    return found[0]


def _url(value: str, variable: str) -> SplitResult:
    try:
        url = urlsplit(value)
        _ = url.port
    except ValueError:
        raise Misconfigured(f"{variable} holds no URL that can be understood: correct the file.") from None
    if "postgres" not in url.scheme or not url.hostname:
        raise Misconfigured(f"{variable} holds no postgresql:// URL with a host: correct the file or the block.")
    return url
