"""The repository, read as text: what the tests of this folder speak about."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from prefect import Flow

ROOT = Path(__file__).resolve().parents[2]
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Source:
    """One file of ours."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def module(self) -> str:
        return self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def text(self) -> str:
        return self.path.read_text()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def imports(self) -> Iterator[str]:
        """Name every module that is imported anywhere in the file, and what is taken from our own packages."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ""
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, FUNCTION))


def sources(*folders: str) -> list[Source]:
    """Find all files below FOLDERS."""
    return [Source(path) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def procedures() -> list[Source]:
    """Find the files that are a procedure."""
    return [Source(p) for p in sorted((ROOT / "flows").glob("*.py")) if p.stem not in {"__init__", "procedure"}]


def flow_of(source: Source) -> Flow[Any, Any]:
    """Load the flow that a procedure's file defines."""
    module: ModuleType = importlib.import_module(source.module)
    return getattr(module, source.path.stem)


def deployments() -> dict[str, Any]:
    """Read deployments.yaml."""
    return yaml.safe_load((ROOT / "deployments.yaml").read_text())
