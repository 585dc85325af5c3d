"""What Prefect asks of a good block, and what we ask of one that holds secrets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest
from prefect.blocks.core import Block
from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic.types import Secret

from blocks.catalogue import BLOCKS
from blocks.errors import SalvorError

SECRET = re.compile(r"(^|_)(password|passwords|token|tokens|secret|secrets|key)($|_)")
every = pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Find the models in an annotation, and those within them."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part
            for field in part.model_fields.values():
                yield from models(field.annotation)
        elif get_args(part) and part is not annotation:
            yield from models(part)


def fields(block: type[Block]) -> Iterator[tuple[str, FieldInfo]]:
    """Name every field of the block's form, nested ones too."""
    for model in {block, *(m for f in block.model_fields.values() for m in models(f.annotation))}:
        yield from ((f"{model.__name__}.{name}", field) for name, field in model.model_fields.items())


def masked(annotation: Any) -> bool:
    kinds = (SecretStr, SecretBytes, Secret)
    return (isinstance(annotation, type) and issubclass(annotation, kinds)) or any(map(masked, get_args(annotation)))


def test_the_catalogue_is_not_empty() -> None:
    """It finds the blocks that the README names."""
    assert {"EnvFile", "Ledger", "Paging", "PgBouncer", "PostgresCluster"} <= {block.__name__ for block in BLOCKS}


@every
def test_it_says_what_it_is(block: type[Block]) -> None:
    """It has a name of ours, a slug, and a description that is a sentence."""
    assert block.get_block_type_name().startswith("Salvor ")
    assert block.get_block_type_slug().startswith("salvor-")
    assert (block.get_description() or "").endswith(".")


@every
def test_every_field_is_described(block: type[Block]) -> None:
    """Whoever fills in the form reads what each field is for."""
    chosen_by_the_form = {name for name, field in fields(block) if get_origin(field.annotation) is Literal}
    assert not [name for name, f in fields(block) if not f.description and name not in chosen_by_the_form]


@every
def test_secrets_are_masked(block: type[Block]) -> None:
    """What is named like a secret is a secret to Prefect."""
    assert not [
        name for name, f in fields(block) if SECRET.search(name.rpartition(".")[2]) and not masked(f.annotation)
    ]


@every
def test_its_example_works(block: type[Block]) -> None:
    """The UI shows how to load it."""
    example = block.get_code_example() or ""
    assert f"from {block.__module__} import {block.__name__}" in example
    assert f'{block.__name__}.load("BLOCK_NAME")' in example


def kinds(error: type[SalvorError]) -> Iterator[type[SalvorError]]:
    """Find an error and all that are told apart from it."""
    yield error
    for each in error.__subclasses__():
        yield from kinds(each)


def test_every_error_has_a_number_of_its_own() -> None:
    """Whoever reads a number in a log finds one error."""
    found = Counter(vars(error)["code"] for error in {*kinds(SalvorError)} if "code" in vars(error))
    assert [code for code, times in found.items() if times > 1] == []
