"""What a failed connection or query means, in a sentence that an operator can act on."""

from __future__ import annotations

import re
from typing import Literal

import psycopg

Kind = Literal["starting", "refused", "silent", "denied"]

_STARTING = (
    "is starting up",
    "is shutting down",
    "in recovery mode",
    "not yet accepting connections",
    "not accepting connections",
)
_REFUSED = (
    "connection refused",
    "no such file or directory",
    "server closed the connection",
    "connection reset by peer",
    "unexpected postmaster exit",
)
_SILENT = (
    "timeout expired",
    "timed out",
    "no route to host",
    "network is unreachable",
    "host is down",
    "host is unreachable",
)
_UNKNOWN_NAME = ("name or service not known", "failure in name resolution", "no address associated")
_LOGIN = ("password", "pg_hba.conf", "authentication", "does not exist", "no encryption", "permission", "too many")

_SECRET = re.compile(r"(password|passwd|pwd|secret|token)(\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s,;&]+)", re.IGNORECASE)
_URL_SECRET = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")


def without_secrets(text: str) -> str:
    """Blank whatever in TEXT looks like a password."""
    return _URL_SECRET.sub(r"\1****@", _SECRET.sub(r"\1\2****", text))


def explain_connect(text: str) -> tuple[Kind, str]:
    """Tell a server that is coming up from one that is gone, mute, or will not let us in."""
    said = _last_line(text)
    low = text.lower()
    if any(sign in low for sign in _STARTING):
        return "starting", f"is not open for queries yet or any more ({said})."
    if any(sign in low for sign in _UNKNOWN_NAME):
        return "silent", "cannot be looked for: its host name does not resolve. Correct the host or the name service."
    if any(sign in low for sign in _REFUSED):
        return "refused", f"is not listening ({said})."
    if any(sign in low for sign in _SILENT):
        return "silent", f"cannot be reached ({said})."
    if "too many" in low or "remaining connection slots" in low:
        return "denied", f"is full ({said}): reserve connections for Salvor's role or raise max_connections."
    return "denied", f"did not let us in ({said}): correct user, password, database or pg_hba.conf."


def mentions_login(problem: str) -> bool:
    """Whether PROBLEM was understood as a login that failed, rather than merely not understood."""
    quoted = problem.split("(", 1)[-1].split("):", 1)[0].lower()
    return any(sign in quoted for sign in _LOGIN)


def explain_query(error: psycopg.Error) -> tuple[Kind, str]:
    """Say what a server that did let us in has against the statement."""
    sqlstate = error.sqlstate or ""
    said = without_secrets((error.diag.message_primary or _last_line(str(error))).strip())
    if sqlstate == "57014":
        return "silent", f"did not finish in time ({said})."
    if not sqlstate or sqlstate.startswith("08"):
        return "refused", f"closed the connection in the middle of the answer ({said})."
    if sqlstate.startswith("57P"):
        return "starting", f"is shutting down or restarting ({said})."
    if sqlstate == "42501":
        return "denied", f"does not permit it ({said}): grant Salvor's role what the README lists."
    return "denied", f"refused it: {said} (SQLSTATE {sqlstate})."


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith("Is the server running")]
    fatal = [line for line in lines if "FATAL" in line]
    chosen = (fatal or lines or ["no reason given"])[-1].rpartition("FATAL:")[2].strip()
    return without_secrets(chosen.rpartition("failed: ")[2].rstrip("."))
