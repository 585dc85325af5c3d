"""What a refusal of the application's database means for a run."""

from __future__ import annotations

import re

import psycopg

from blocks.errors import Ambiguous, Misconfigured, SalvorError, Transient
from blocks.postgres_session import StatementRefused

_WRONG = re.compile(r"password|authentication|does not exist|no pg_hba|role ", re.IGNORECASE)


def not_let_in(where: str, error: psycopg.Error) -> SalvorError:
    """Translate an error of the login."""
    kind = Misconfigured if _WRONG.search(str(error)) else Transient
    return kind(f"Could not log in to {where}: {_first(error)} Correct the AppDatabase block.")


def meaning(where: str, error: psycopg.Error, *, wrote: bool) -> SalvorError:
    """Translate an error; WROTE says whether it came from a commit, which may have happened."""
    state, said = error.sqlstate or "", _first(error)
    if state == "42501":
        return Misconfigured(f"{where} does not let Salvor in everywhere: {said}")
    if not state or state.startswith(("08", "57P")):
        if wrote:
            return Ambiguous(f"{where} did not answer the commit ({said}): it may have happened.")
        return Transient(f"{where} did not answer ({said}). Nothing of it was done.")
    if state.startswith(("40", "55P", "57")):
        return Transient(f"{where} gave the statement up ({said}). Nothing of it was done.")
    return StatementRefused(f"{where} refused the statement ({said}). Nothing of it was done.", state)


def _first(error: psycopg.Error) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".") + "."
