"""Load a block, or say why not: Prefect's form saves it however it is filled in."""

from __future__ import annotations

from typing import TypeVar, cast

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectException
from pydantic import ValidationError

from blocks.errors import Misconfigured, Transient

B = TypeVar("B", bound=Block)


def wrong_fields(error: Exception) -> str:
    """Name the fields that kept Prefect from loading a block, each with its reason; empty when it was not for them."""
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return ""
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in cause.errors())


def loaded(kind: type[B], name: str) -> B:
    """Load a block by its name, or say that there is none, or what of it is filled in wrong."""
    try:
        return cast("B", kind.load(name))
    except ValueError as error:
        what = kind._block_type_name  # noqa: SLF001 - as the UI calls it
        raise Misconfigured(
            f"There is no block {name} of the type {what}: create it under Blocks in the Prefect UI, or correct"
            " the name."
        ) from error
    except RuntimeError as error:
        if wrong := wrong_fields(error):
            raise Misconfigured(
                f"The block {name} is not filled in right ({wrong}): correct it under Blocks in the Prefect UI."
            ) from error
        raise


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
