"""The style of the house, in numbers."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from statistics import median

from tests.contract.source import sources

CODE = [source for source in sources("flows", "tasks", "blocks") if source.text.count("\n") >= 5]
BANNED = {"manager", "handler", "helper", "helpers", "util", "utils", "master", "slave"}
BANNED_FIRST = {"do", "handle", "check"}
KINDS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def banned(name: str) -> bool:
    words = re.findall(r"[A-Z]?[a-z0-9]+", name)
    return bool(BANNED & {word.lower() for word in words}) or bool(BANNED_FIRST & set(words[:1]))


def p90(values: list[int]) -> int:
    return sorted(values)[int(len(values) * 0.9)]


def lengths() -> dict[str, int]:
    return {
        f"{source.name}:{f.name}:{f.lineno}": (f.end_lineno or f.lineno) - f.lineno + 1
        for source in CODE
        for f in source.functions()
    }


def test_files_are_short() -> None:
    """At most 300 lines, and nine of ten at most 180."""
    sizes = {source.name: source.text.count("\n") for source in CODE}
    assert {name: size for name, size in sizes.items() if size > 300} == {}
    assert p90(list(sizes.values())) <= 180


def test_functions_are_short() -> None:
    """At most 50 lines, nine of ten at most 25, half of them at most 9."""
    found = lengths()
    assert {name: size for name, size in found.items() if size > 50} == {}
    assert p90(list(found.values())) <= 25
    assert median(found.values()) <= 9


def test_everything_is_typed() -> None:
    """Every function says what it returns."""
    assert not [f"{s.name}:{f.name}" for s in CODE for f in s.functions() if f.returns is None]


def test_names_say_what_a_thing_is() -> None:
    """No manager, handler, helper, util; nothing is done, handled or checked."""
    assert not [f"{s.name}:{n.name}" for s in CODE for n in ast.walk(s.tree) if isinstance(n, KINDS) and banned(n.name)]
    assert not [source.name for source in CODE if banned(source.path.stem)]


def test_decisions_are_tested_without_patches() -> None:
    """Fakes are passed in."""
    assert not [s.name for s in sources("tests/flows", "tests/tasks") if "patch(" in s.text]


def test_every_test_says_its_claim() -> None:
    """Each test has a docstring, and its first line is a sentence."""
    claims = {
        f"{s.name}:{f.name}": (ast.get_docstring(f) or "").partition("\n")[0]
        for s in sources("tests")
        if s.path.stem.startswith("test_")
        for f in s.functions()
        if f.name.startswith("test_")
    }
    assert [name for name, claim in claims.items() if not claim.endswith((".", ":"))] == []


def test_no_address_and_no_lint_without_reason() -> None:
    """Every exception from a rule is named; nothing says where packages are downloaded from."""
    for source in [*CODE, *sources("tests")]:
        comments = [
            t.string for t in tokenize.generate_tokens(io.StringIO(source.text).readline) if t.type == tokenize.COMMENT
        ]
        assert not [c for c in comments if re.search(r"#\s*noqa\s*$|type:\s*ignore\s*$", c)], source.name
