"""Knock at a server and read the code of its refusal, which unlike its words is the same in every language.

libpq tells the code to nobody; its PQping knows it, but blocks the whole interpreter while it waits.
"""

from __future__ import annotations

import asyncio
import re
import struct

from psycopg.conninfo import conninfo_to_dict

_PROTOCOL = 196_608  # 3.0
_LONGEST = 4096
_CODE = re.compile(rb"\0C([0-9A-Z]{5})\0")


async def refusal_code(conninfo: str) -> str:
    """Give the SQLSTATE with which the server turns a greeting down; empty when it goes on to ask for a password.

    A greeting needs no encryption: whether the server takes connections at all is said before anything else.
    """
    parts = conninfo_to_dict(conninfo)
    host, port = str(parts.get("host") or "localhost"), int(parts.get("port") or 5432)
    user = str(parts.get("user") or "salvor")
    if host.startswith("/"):
        reader, writer = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    else:
        reader, writer = await asyncio.open_connection(host, port)
    try:
        names = f"user\0{user}\0database\0{parts.get('dbname') or user}\0\0".encode()
        writer.write(struct.pack("!ii", len(names) + 8, _PROTOCOL) + names)
        said = await reader.read(_LONGEST)
    finally:
        writer.close()
    found = _CODE.search(said) if said.startswith(b"E") else None
    return found[1].decode() if found else ""
