"""Address fields that refuse nonsense with a sentence instead of failing in the middle of a recovery."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
_MAX_NAME = 253


def _host(text: str) -> str:
    if text.startswith("/"):
        return text
    if "://" in text:
        raise ValueError(f"`{text}` is a URL: give only the host, e.g. db1.example.org.")
    bare = text.removeprefix("[").removesuffix("]")
    if _is_address(bare):
        return bare
    if ":" in text:
        raise ValueError(f"`{text}` holds a colon: give the host alone and put the port in its own field.")
    if len(text) > _MAX_NAME or not _NAME.fullmatch(text):
        raise ValueError(f"`{text}` is not a host: give a host name, an IP address, or the directory of a socket.")
    return text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as wrong:
        raise ValueError(f"`{text}` is not a URL: {wrong}.") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"`{text}` does not begin with http:// or https://.")
    if not parts.hostname or not (_is_address(parts.hostname) or _NAME.fullmatch(parts.hostname)):
        raise ValueError(f"`{text}` names no host after {parts.scheme}://.")
    if parts.username or parts.password:
        raise ValueError("A URL here may not hold a user or a password: use the fields for them.")
    if port == 0:
        raise ValueError(f"`{text}` has the port 0.")
    return text.rstrip("/")


def _absolute(text: str) -> str:
    if not text.startswith("/") or text.rstrip("/") == "":
        raise ValueError(f"`{text}` is not the absolute path of a file or directory below /.")
    if "\n" in text or "\0" in text:
        raise ValueError("A path may not hold a line break.")
    return text.rstrip("/")


Host = Annotated[str, AfterValidator(_host)]
HttpUrl = Annotated[str, AfterValidator(_url)]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=1, le=65_535)]
