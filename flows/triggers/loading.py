"""What a process does at its start: it loads its blocks, or says what is missing, and speaks up in its log."""

from __future__ import annotations

import logging
import sys
from typing import TypeVar, cast

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectException

from blocks.errors import Misconfigured, Transient
from blocks.filled_in import wrong_fields

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


def block_names(kind: type[Block]) -> list[str]:
    """List the blocks of a kind that have a name."""
    try:
        with get_client(sync_client=True) as client:
            documents = client.read_block_documents_by_type(kind.get_block_type_slug(), include_secrets=False)
    except ObjectNotFound:
        return []
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        raise Transient(f"The blocks could not be listed ({first_line(error)}): does Prefect run?") from error
    return sorted(d.name for d in documents if d.name and not d.is_anonymous)


def first_line(error: Exception) -> str:
    """Return the first line of what ERROR says, short enough for a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
