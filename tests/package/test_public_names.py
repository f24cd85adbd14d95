"""The public names are listed, defined and documented. No docstring names a missing one."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import pickle
import pkgutil
import re
import typing
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import aiocheckpoint
from aiocheckpoint import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "aiocheckpoint"
SPECIAL = frozenset({"__version__"})


def module_names() -> list[str]:
    """Find every module of the package."""
    found = pkgutil.walk_packages(aiocheckpoint.__path__, f"{PREFIX}.")
    return [PREFIX, *sorted(info.name for info in found)]


NEEDED = {f"{PREFIX}.handlers.postgres": "psycopg", f"{PREFIX}.handlers.objects": "obstore"}
MODULES = [
    name
    for name in module_names()
    if all(find_spec(needed) or store not in name for store, needed in NEEDED.items())
]
PUBLIC = [name for name in MODULES if not any(part.startswith("_") for part in name.split("."))]
LEAVES = sorted(set(errors.__all__) - {"CheckpointError"})


def tree_of(module: ModuleType) -> ast.Module:
    """Parse the source of a module."""
    assert module.__file__ is not None
    return ast.parse(Path(module.__file__).read_text(encoding="utf-8"))


def names_bound_by(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement defines, or imports from this package."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case _:
            pass


def imported_from_here(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement imports from this package, as a facade does.

    Lazily imported names are under `if TYPE_CHECKING:`, for type checkers.
    """
    if isinstance(node, ast.If):
        for later in node.body:
            yield from imported_from_here(later)
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PREFIX):
        yield from (alias.asname or alias.name for alias in node.names)


def public(names: Iterator[str]) -> set[str]:
    """Drop names with a leading underscore, except the version."""
    return {name for name in names if name in SPECIAL or not name.startswith("_")}


def documented_things() -> Iterator[tuple[str, object]]:
    """Yield every public class and function, and each public method defined in such a class."""
    for module_name in PUBLIC:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing):
                yield from methods_of(thing)
            if inspect.isclass(thing) or inspect.isroutine(thing):
                yield f"{thing.__module__}.{thing.__qualname__}", thing


def methods_of(kind: type) -> Iterator[tuple[str, object]]:
    """Yield the public methods and properties that a class has from this package."""
    for owner in kind.__mro__:
        for name, member in vars(owner).items():
            is_member = isinstance(member, FunctionType | property | classmethod | staticmethod)
            if is_member and not name.startswith("_") and owner.__module__.startswith(PREFIX):
                yield f"{kind.__module__}.{kind.__qualname__}.{name}", getattr(kind, name)


def twins() -> Iterator[tuple[str, str]]:
    """Yield pairs of a synchronous method and its twin with the leading a."""
    things = dict(documented_things())
    for name in things:
        owner, _, method = name.rpartition(".")
        if f"{owner}.a{method}" in things:
            yield name, f"{owner}.a{method}"


THINGS = dict(documented_things())


@pytest.mark.parametrize("name", MODULES)
def test_all_names_exist_once(name: str) -> None:
    """Every module, private ones too, lists its names in `__all__`, in order, and has them."""
    module = importlib.import_module(name)
    listed = list(module.__all__)
    assert listed == sorted(set(listed), key=sorting_key)
    assert [listing for listing in listed if not hasattr(module, listing)] == []


def sorting_key(name: str) -> tuple[int, str]:
    """Order names as ruff does: constants, classes, then the rest."""
    bare = name.strip("_")
    if name.isupper() and len(bare) > 1:
        return 0, name
    return (1 if bare[:1].isupper() else 2), name


@pytest.mark.parametrize("name", PUBLIC)
def test_all_lists_what_is_there(name: str) -> None:
    """A public module's `__all__` lists its own public names, or a facade's imported ones."""
    module = importlib.import_module(name)
    body = tree_of(module).body
    there = public(bound for node in body for bound in names_bound_by(node))
    if hasattr(module, "__path__"):
        there |= public(bound for node in body for bound in imported_from_here(node))
        there -= {info.name for info in pkgutil.iter_modules(module.__path__)} - set(module.__all__)
    elif module is errors:
        imported = (bound for node in body for bound in imported_from_here(node))
        there |= {bound for bound in imported if isinstance(getattr(module, bound), type)}
    assert set(module.__all__) == there


def test_facade_has_every_error() -> None:
    """The package exports every error of the library."""
    assert set(errors.__all__) <= set(aiocheckpoint.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_module_has_docstring(name: str) -> None:
    """Every module has a docstring."""
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("name", sorted(THINGS))
def test_public_name_has_docstring(name: str) -> None:
    """Every public class, function and method has a docstring of its own."""
    own = getattr(THINGS[name], "__doc__", None)
    assert own
    assert not own.startswith(f"{name.rpartition('.')[2]}("), "made by dataclass"


def errors_section(name: str) -> str:
    """The text under `Raises:` in a docstring, empty where there is none."""
    text = inspect.cleandoc(getattr(THINGS[name], "__doc__", None) or "")
    section = re.search(r"^Raises:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    return section[1] if section else ""


@pytest.mark.parametrize("name", [name for name in sorted(THINGS) if errors_section(name)])
def test_documented_errors_exist(name: str) -> None:
    """Every error under `Raises:` in a docstring is public, or one of Python's own."""
    entries = re.findall(r"^    (\w[\w, ]*):", errors_section(name), re.MULTILINE)
    named = {error.strip() for entry in entries for error in entry.split(",")}
    assert named
    assert named - set(errors.__all__) - set(dir(builtins)) == set()


@pytest.mark.parametrize("name", LEAVES)
def test_error_is_raised(name: str) -> None:
    """Every public error is raised by some module other than its own."""
    makers = [other for other in MODULES if other != errors.__name__ and name in made_by(other)]
    assert makers


@cache
def made_by(module_name: str) -> frozenset[str]:
    """Find the names that a module calls, or a maker on them, that it raises or hands on."""
    found = set[str]()
    for node in ast.walk(tree_of(importlib.import_module(module_name))):
        made = node.func if isinstance(node, ast.Call) else None
        made = node.exc if isinstance(node, ast.Raise) else made
        made = made.value if isinstance(made, ast.Attribute) else made
        given = node.args if isinstance(node, ast.Call) else []  # as a warning's class is
        found.update(one.id for one in (made, *given) if isinstance(one, ast.Name))
    return frozenset(found)


@pytest.mark.parametrize(("sync", "twin"), list(twins()))
def test_twins_take_the_same(sync: str, twin: str) -> None:
    """A method and its asynchronous twin take the same arguments, and only the twin is awaited.

    Or the twin gives a stream to loop over, and the method one for plain loops.
    """
    plain, coroutine = THINGS[sync], THINGS[twin]
    assert isinstance(plain, FunctionType)
    assert isinstance(coroutine, FunctionType)
    ours, theirs = inspect.signature(plain), inspect.signature(coroutine)
    assert list(ours.parameters.values()) == list(theirs.parameters.values())
    if str(theirs.return_annotation).startswith("Stream["):
        assert ours.return_annotation == f"Sync{theirs.return_annotation}"
    else:
        assert ours.return_annotation == theirs.return_annotation
        assert inspect.iscoroutinefunction(coroutine)
    assert not inspect.iscoroutinefunction(plain)


def test_every_method_has_its_twin() -> None:
    """The methods of the flow and of the handlers come in pairs."""
    stored = ["runs", "count", "read", "patch", "reset", "delete", "prune"]
    runners = {
        "CheckpointFlow": ["run", "plan", *stored],
        "LocalStateHandler": ["read", "write", "count", "backup", "compact", "close"],
        "SqliteStateHandler": ["read", "write", "count", "backup", "compact", "close"],
    }
    wanted = {f"{owner}.{method}" for owner, methods in runners.items() for method in methods}
    found = {".".join(sync.split(".")[-2:]) for sync, _ in twins()}
    assert wanted <= found


NAMED = [
    (module, name)
    for module in PUBLIC
    for name in importlib.import_module(module).__all__
    if isinstance(getattr(importlib.import_module(module), name), type | FunctionType)
]
TOP = set(aiocheckpoint.__all__)


@pytest.mark.parametrize(("module", "name"), NAMED)
def test_public_things_name_a_public_module(module: str, name: str) -> None:
    """A class or function says the module that users import it from, and is found there."""
    thing = getattr(importlib.import_module(module), name)
    said = thing.__module__
    assert said in PUBLIC
    assert said == PREFIX if name in TOP else said in {module, f"{module}.sqlite"}
    assert getattr(importlib.import_module(said), thing.__qualname__) is thing
    assert pickle.loads(pickle.dumps(thing)) is thing


def fields_of(module: str, name: str) -> set[str]:
    """The fields of a public record, none for any other class or function."""
    thing: Any = getattr(importlib.import_module(module), name)
    return {*getattr(thing, "__dataclass_fields__", ()), *getattr(thing, "_fields", ())}


@pytest.mark.parametrize(("module", "name"), [one for one in NAMED if fields_of(*one)])
def test_annotations_are_found(module: str, name: str) -> None:
    """`typing.get_type_hints` resolves the fields of every public record."""
    thing: Any = getattr(importlib.import_module(module), name)
    assert set(typing.get_type_hints(thing)) >= fields_of(module, name)


def function_of(name: str) -> Any:  # noqa: ANN401 - a function, or a class without one
    """The function of a public function, method or property."""
    return inspect.unwrap(getattr(THINGS[name], "fget", THINGS[name]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", [name for name in sorted(THINGS) if inspect.isroutine(function_of(name))]
)
def test_sources_are_found(name: str) -> None:
    """`inspect.getsource` gives the text of every public function and method."""
    assert "def " in inspect.getsource(function_of(name))
