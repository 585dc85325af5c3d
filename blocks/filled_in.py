"""Why a block that is there could not be loaded: Prefect's form saves it however it is filled in."""

from __future__ import annotations

from pydantic import ValidationError


def wrong_fields(error: Exception) -> str:
    """Name the fields that kept Prefect from loading a block, each with its reason; empty when it was not for them."""
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return ""
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in cause.errors())
