"""The packages import in one direction, type-only imports included, without circles."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from locations import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

SOURCE = ROOT / "src"
FACES = ("__init__",)


def module_name(path: Path) -> str:
    """Return the dotted name of a module's file."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] in FACES else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield every dotted name that a module imports, at any level of its code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imports_of(name: str) -> set[str]:
    """Return the modules of the library that one of them imports."""
    found = set[str]()
    for imported in imported_names(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        for candidate in (imported, imported.rpartition(".")[0]):
            if candidate in MODULES:
                found.add(candidate)
                break
    return found - {name}


def reachable(graph: Mapping[str, AbstractSet[str]], start: str) -> set[str]:
    """Return all nodes that can be reached from a node. It contains itself only in a circle."""
    found, ahead = set[str](), list(graph[start])
    while ahead:
        node = ahead.pop()
        if node not in found:
            found.add(node)
            ahead.extend(graph[node])
    return found


def circles(graph: Mapping[str, AbstractSet[str]]) -> list[str]:
    """Return the nodes that reach themselves."""
    return sorted(node for node in graph if node in reachable(graph, node))


def test_no_circle_of_modules() -> None:
    """No module imports itself by way of others."""
    graph = {name: imports_of(name) for name in MODULES}
    assert sum(map(len, graph.values())) > len(MODULES)
    assert circles(graph) == []


def test_circles_are_found() -> None:
    """The search finds a circle of two and a circle of three, and nothing else."""
    graph = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"e"}, "e": {"c"}, "f": {"a"}}
    assert circles(graph) == ["a", "b", "c", "d", "e"]
    assert circles({"a": {"b"}, "b": set()}) == []


def test_import_contracts_hold() -> None:
    """`lint-imports` keeps every contract of pyproject.toml."""
    pytest.importorskip("importlinter", reason="needs import-linter, of the extra test")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    command += ["--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
