"""The four ways in which reaching the outside world goes wrong, told apart by what may have changed.

The docstring of an error is its default message. Codes are append-only: a retired number is never used again.
"""

from __future__ import annotations

from inspect import cleandoc
from typing import ClassVar, Literal


class SalvorError(Exception):
    """Something went wrong that Salvor has no better word for."""

    code: ClassVar[int] = 1

    def __init__(self, message: str = "") -> None:
        """Say what is wrong and what to do; without a message the class's own sentence is used."""
        super().__init__(message or cleandoc(type(self).__doc__ or ""))


class Transient(SalvorError):
    """There was no answer, and nothing was changed: asking again is safe."""

    code = 10


class Misconfigured(SalvorError):
    """An address, a secret or a setting is wrong: asking again will not help until a person mends it."""

    code = 20


class StandDown(SalvorError):
    """The procedure ends here on purpose, and nothing was changed."""

    code = 30

    def __init__(self, message: str = "", *, outcome: Literal["NothingToDo", "Refused"] = "Refused") -> None:
        """End the run with OUTCOME; the message is what the operator reads."""
        super().__init__(message)
        self.outcome = outcome


class LeaseLost(SalvorError):
    """Another run holds the lease of this target now: this run must not write any more."""

    code = 31


class Ambiguous(SalvorError):
    """A write was sent and its answer was lost: it may have happened, so it is neither repeated nor undone."""

    code = 40
