"""The lines of PgBouncer's [databases] section, read and changed as text: what is not ours stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable

from blocks.errors import Misconfigured

_LINE = re.compile(r"""^(?P<name>\s*(?:"(?:[^"]|"")+"|[^\s=;#\[%]+)\s*=)(?P<options>.*?)(?P<end>\s*)$""")
# Read one after the other, so that nothing inside a quoted value is taken for an option.
_OPTION = re.compile(r"""(?P<key>\w+)\s*=\s*(?:'(?:[^']|'')*'|[^\s']+)""")


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
    missing = {"host": host, "port": str(port)}
    wanted = dict(missing)

    def put(option: re.Match[str]) -> str:
        missing.pop(option["key"], None)
        return f"{option['key']}={wanted[option['key']]}" if option["key"] in wanted else option[0]

    changed = _OPTION.sub(put, options)
    return "".join(f" {key}={value}" for key, value in missing.items()) + changed
