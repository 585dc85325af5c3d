"""The rules of an application, written by its team. `python -m blocks.rule_pack NAME FILE` saves a file as a block."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import yaml
from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, SecretStr, ValidationError, field_validator

from blocks.errors import Misconfigured
from blocks.rules import Pack, Rule

_KINDS = ", ".join(sorted(str(kind.model_fields["kind"].default) for kind in get_args(get_args(Rule)[0])))


class RulePack(Block):
    """What must be true of the rows of an application's database."""

    # Prefect would swallow a field that is misspelt.
    model_config = ConfigDict(extra="forbid")

    _block_type_name = "Salvor rule pack"
    _block_type_slug = "salvor-rule-pack"
    _description = "What must be true of an application's rows: orphans, duplicates, mismatches, stuck work, and more."

    rules: str = Field(
        min_length=1,
        description="The rules as YAML (or JSON); consistency-suggest writes a first version for your tables.",
    )
    replica_url: SecretStr = Field(
        default=SecretStr(""),
        description="A standby to look on, postgresql://user:password@host/database; empty: the database itself.",
    )

    @field_validator("rules")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        parsed(value)
        return value

    @property
    def pack(self) -> Pack:
        """Read the rules."""
        return parsed(self.rules)


def _within(place: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


#: What the library says less clearly.
_SAID = {
    "extra_forbidden": "there is no such field: correct its name",
    "union_tag_not_found": f"it needs a kind: {_KINDS}",
    "union_tag_invalid": f"there is no such kind; there are {_KINDS}",
    "model_attributes_type": "a rule is a list of fields, as `kind: orphan`",
    "missing": "it must be given",
    "tuple_type": "it must be a list, as [a, b]",
}


def parsed(text: str) -> Pack:
    """Read rules; a ValueError says of every fault in which rule and field it is."""
    try:
        content = yaml.load(text, _Loader)  # noqa: S506 - it is a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(f"this is no YAML: {' '.join(str(error).split())}") from None
    if isinstance(content, list):  # the word `rules:` is easily forgotten
        content = {"rules": content}
    if not isinstance(content, dict) or not isinstance(content.get("rules"), list) or not content["rules"]:
        raise ValueError("there are no rules: write a list of them under `rules:`")
    try:
        return Pack.model_validate(content)
    except ValidationError as error:
        # A list of which an entry is wrong is said to be too short as well.
        places = [each["loc"] for each in error.errors()]
        faults = [
            each
            for each in error.errors()
            if each["type"] != "too_short" or not any(_within(place, each["loc"]) for place in places)
        ]
        raise ValueError("; ".join(_fault(content, each) for each in faults)) from None


class _Loader(yaml.SafeLoader):
    """YAML in which a date is the text that was written, and a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse what stands twice; the library would keep the last, without a word."""
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := sorted({key for key in written if written.count(key) > 1}):
            raise yaml.constructor.ConstructorError(
                None, None, f"{', '.join(twice)} stands there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _fault(content: Any, error: Any) -> str:  # noqa: ANN401 - whatever the author wrote
    where = [str(part) for part in error["loc"]]
    said = _SAID.get(error["type"], str(error["msg"]).removeprefix("Value error, "))
    if where[:1] != ["rules"] or len(where) < 2:  # noqa: PLR2004 - the list, and which of it
        return ": ".join([*where[:1], said])
    rule = content["rules"][int(where[1])]
    name = rule.get("name") if isinstance(rule, dict) else None
    field = ".".join(part for part in where[2:] if not (isinstance(rule, dict) and part == rule.get("kind")))
    return " ".join(part for part in (f"rule {int(where[1]) + 1}", f"({name})" if name else "") if part) + (
        f", {field}: {said}" if field else f": {said}"
    )


def main(arguments: list[str]) -> int:
    """Save the rules of a file as the block of a name."""
    if len(arguments) != 2:  # noqa: PLR2004 - the name and the file
        sys.stderr.write("usage: python -m blocks.rule_pack NAME FILE.yaml\n")
        return 2
    name, file = arguments
    try:
        rules = Path(file).read_text()
        pack = parsed(rules)
        _saved(name, rules)
    except (OSError, ValueError, Misconfigured) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"The block {name} has the {len(pack.rules)} rules of {file}.\n")
    return 0


def _saved(name: str, rules: str) -> None:
    try:
        known = RulePack.load(name)
    except (ValueError, RuntimeError):  # there is none, or it is not filled in right
        known = None
    replica = known.replica_url if isinstance(known, RulePack) else SecretStr("")
    RulePack(rules=rules, replica_url=replica).save(name, overwrite=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
