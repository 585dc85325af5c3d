"""What a process does at its start: it loads its blocks, or says what is missing, and speaks up in its log."""

from __future__ import annotations

import logging
import sys
from typing import TypeVar, cast

import httpx
from prefect.blocks.core import Block
from prefect.exceptions import PrefectException

from blocks.errors import Misconfigured, Transient
from blocks.filled_in import first_line, wrong_fields

B = TypeVar("B", bound=Block)


def load_block(kind: type[B], name: str) -> B:
    """Load a block, or say how to make it."""
    try:
        return cast("B", kind.load(name))
    except ValueError as error:
        raise Misconfigured(
            f"There is no {kind.__name__} block named `{name}` that can be read ({first_line(error)}). Make it in the"
            f" Prefect UI under Blocks, or in Python: {kind.__module__}.{kind.__name__}(...).save({name!r})."
        ) from error
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        if wrong := wrong_fields(error):
            raise Misconfigured(
                f"The {kind.__name__} block `{name}` is not filled in right ({wrong}):"
                " correct it in the UI under Blocks."
            ) from error
        raise Transient(
            f"The block `{name}` could not be read from Prefect ({first_line(error)}):"
            " look at PREFECT_API_URL and PREFECT_API_AUTH_STRING, and whether the server runs."
        ) from error


def speak(level: str) -> None:
    """Log what Salvor does from LEVEL on, whatever Prefect has set up for the rest."""
    voice = logging.getLogger("salvor")
    voice.setLevel(level.upper())
    voice.propagate = False
    said = logging.StreamHandler(sys.stderr)
    said.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    voice.handlers = [said]
