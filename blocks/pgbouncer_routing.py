"""The lines of PgBouncer's [databases] section, read and changed as text: what is not ours stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable

from blocks.errors import Misconfigured

_LINE = re.compile(r"""^(?P<name>\s*(?:"(?:[^"]|"")+"|[^\s=;#\[%]+)\s*=)(?P<options>.*?)(?P<end>\s*)$""")
_VALUE = r"""\s*=\s*(?:'(?:[^']|'')*'|[^\s']+)"""


def rerouted(text: str, databases: Iterable[str], host: str, port: int) -> str:
    """Point DATABASES at HOST and PORT; other databases, options and comments are kept as they are."""
    wanted, lines = set(databases), []
    for line in text.splitlines(keepends=True):
        found = _LINE.match(line)
        name = _plain(found["name"]) if found else ""
        if found and name in wanted:
            wanted.discard(name)
            line = f"{found['name']}{_pointed(found['options'], host, port)}{found['end']}"  # noqa: PLW2901
        lines.append(line)
    if wanted:
        raise Misconfigured(
            f"The routing file has no line for {', '.join(sorted(wanted))}: add `{min(wanted)} = host=... port=...`, "
            "or correct the databases of the PgBouncer block."
        )
    return "".join(lines)


def _plain(name: str) -> str:
    bare = name.rstrip("=").strip()
    return bare[1:-1].replace('""', '"') if bare.startswith('"') else bare


def _pointed(options: str, host: str, port: int) -> str:
    for key, value in (("port", str(port)), ("host", host)):
        place = re.compile(rf"(?<![^\s]){key}{_VALUE}")
        if place.search(options):
            options = place.sub(lambda _, k=key, v=value: f"{k}={v}", options)  # type: ignore[misc]
        else:
            options = f" {key}={value}{options}"
    return options
