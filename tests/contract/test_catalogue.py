"""What every procedure has; for a new one, the failures of this file are the list of what to write."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from typing import Any

import pytest
from prefect import Task
from prefect.cache_policies import NO_CACHE

from flows.triggers.catalogue import procedures as named
from tests.contract.source import ROOT, Source, deployments, flow_of, procedures, sources

HEADINGS = ("Meaning", "Impact", "Diagnosis", "Mitigation")
STATEMENTS = 20
SIGNATURE = ["target", "policy", "reason", "requested_by", "alert"]
every = pytest.mark.parametrize("source", procedures(), ids=lambda source: source.path.stem)


def dashed(source: Source) -> str:
    return source.path.stem.replace("_", "-")


def body(source: Source) -> ast.FunctionDef:
    return next(f for f in source.functions() if f.name == source.path.stem and isinstance(f, ast.FunctionDef))


def all_tasks() -> dict[str, Task[Any, Any]]:
    """Find every Prefect task there is."""
    found = {}
    for source in sources("tasks", "flows"):
        for value in vars(importlib.import_module(source.module)).values():
            if isinstance(value, Task):
                found[f"{value.fn.__module__}.{value.fn.__qualname__}"] = value
    return found


def test_the_catalogue_knows_them() -> None:
    """What the receiver takes for a procedure are the files of flows/."""
    assert list(named()) == [dashed(source) for source in procedures()]


@every
def test_the_docstring_is_a_runbook(source: Source) -> None:
    """What it means, what it costs, how to look, what to do: in this order, and shown in the UI."""
    runbook = ast.get_docstring(source.tree) or ""
    found = re.findall(rf"^\W*({'|'.join(HEADINGS)})\b", runbook, re.MULTILINE)
    assert tuple(found) == HEADINGS
    assert inspect.cleandoc(flow_of(source).description or "") == runbook


@every
def test_it_is_one_flow(source: Source) -> None:
    """Named as its file, concluded by us, and never run again by Prefect."""
    flow = flow_of(source)
    assert flow.name == dashed(source)
    assert flow.retries == 0
    assert [ast.unparse(d).split("(")[0] for d in body(source).decorator_list] == ["flow", "concludes"]


@every
def test_its_form_is_the_same_as_all(source: Source) -> None:
    """Target, policy, and who asks for it and why; each field of the form says what it is for."""
    flow = flow_of(source)
    assert list(inspect.signature(flow.fn).parameters) == SIGNATURE
    assert not [name for name, field in flow.parameters.properties.items() if not field.get("description")]
    policies = [d for name, d in flow.parameters.definitions.items() if name.endswith("Policy")]
    assert policies
    assert not [name for policy in policies for name, f in policy["properties"].items() if not f.get("description")]


@every
def test_it_is_read_on_one_screen(source: Source) -> None:
    """At most twenty statements, none of which branches."""
    statements = [n for n in ast.walk(body(source)) if isinstance(n, ast.stmt)][1:]
    branches = (ast.If, ast.Try, ast.For, ast.While, ast.Match, ast.IfExp)
    assert len(statements) <= STATEMENTS
    assert not [ast.unparse(n) for n in ast.walk(body(source)) if isinstance(n, branches)]


@every
def test_it_is_deployed(source: Source) -> None:
    """A deployment has its name."""
    assert dashed(source) in {deployment["name"] for deployment in deployments()["deployments"]}


@every
def test_it_has_a_flow_test(source: Source) -> None:
    """A test in tests/flows runs it."""
    tests = [test.name for test in sources("tests/flows") if source.path.stem in test.path.stem]
    assert tests, f"write tests/flows/test_{source.path.stem}.py"


@every
def test_it_has_a_drill(source: Source) -> None:
    """A drill runs it against the real thing."""
    drills = [test.name for test in sources("tests/drills") if f'"{dashed(source)}"' in test.text]
    assert drills, f"write a drill that runs {dashed(source)}"


@every
def test_it_is_in_the_readme(source: Source) -> None:
    """The README's table has a row that links to it."""
    assert re.search(
        rf"^\|\s*\[`?{dashed(source)}`?\]\({source.name}\)", (ROOT / "README.md").read_text(), re.MULTILINE
    )


def test_no_task_remembers() -> None:
    """Prefect's default cache answered a probe after a repair with what was seen before it."""
    wrong = [n for n, task in all_tasks().items() if task.cache_policy != NO_CACHE or task.persist_result is not False]
    assert all_tasks()
    assert not wrong


def test_only_reads_are_repeated() -> None:
    """A task with retries says under which condition, and never is an act."""
    tasks = all_tasks()
    assert not [name for name, task in tasks.items() if task.retries and task.retry_condition_fn is None]
    assert not [name for name, task in tasks.items() if task.retries and ".act." in name]
