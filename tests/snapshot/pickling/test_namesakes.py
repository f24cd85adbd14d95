"""Two classes of one name that are both in use stay two. A class defined anew takes its name."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
from streams import load_whole

from aiocheckpoint._snapshot.pickling.names import StepModules
from aiocheckpoint._snapshot.pickling.serializer import dump
from aiocheckpoint._snapshot.target import MemoryTarget

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGISTER = """
HANDLERS = {}
def register(name):
    def put(kind):
        HANDLERS[name] = kind
        return kind
    return put
"""
TOLD_APART_AT_A_PROMPT = {
    "fields of a named tuple": """
from collections import namedtuple
def place():
    Point = namedtuple("Point", "latitude longitude")
    return Point(1, 2)
old = place()
Point = namedtuple("Point", "x y")
""",
    "a loop": """
MODELS = {}
for version in (1, 2):
    class Model:
        number = version
        def tell(self):
            return self.number
    MODELS[version] = Model
old = MODELS[1]()
del MODELS
""",
    "a container": """
MODELS = {}
for version in (1, 2):
    class Model:
        number = version
    MODELS[version] = [Model]
old = MODELS[1][0]()
""",
    "a private name": """
class Config:
    kind = "old"
_Old = Config
class Config:
    kind = "new"
old = _Old()
""",
    "a throwaway name": f"""{REGISTER}
@register("add")
class _:
    kind = "old"
old = _()
@register("negate")
class _:
    kind = "new"
HANDLERS.clear()
""",
    "a registry": f"""{REGISTER}
@register("add")
class Operation:
    kind = "old"
old = Operation()
@register("negate")
class Operation:
    kind = "new"
""",
    "a closure": """
def keeper():
    kept = []
    def keep(kind):
        kept.append(kind)
        return kind
    return keep
keep = keeper()
@keep
class Operation:
    kind = "old"
old = Operation()
@keep
class Operation:
    kind = "new"
""",
    "an object": """
class Registry:
    def __init__(self):
        self.kinds = []
registry = Registry()
class Operation:
    kind = "old"
registry.kinds.append(Operation)
old = Operation()
class Operation:
    kind = "new"
""",
    "an attribute of a class": """
class Operation:
    kind = "old"
class Holder:
    operation = Operation
old = Operation()
class Operation:
    kind = "new"
""",
    "a nested class": """
class Holder:
    class Inner:
        kind = "old"
kept = [Holder.Inner]
old = Holder.Inner()
class Holder:
    class Inner:
        kind = "new"
""",
}
AS_ONE_AT_A_PROMPT = {
    "a cell again": "class C:\n    kind = 'old'\nold = C()\nclass C:\n    kind = 'new'\n",
    "results of a prompt": """
class C:
    kind = "old"
_, _12, Out = C, C, {12: C}
old = C()
class C:
    kind = "new"
""",
    "annotations": """
class C:
    kind = "old"
def use(c: C) -> C: ...
class Other:
    field: C
old = C()
class C:
    kind = "new"
""",
    "a decorated method and a dataclass": """
import functools
from dataclasses import dataclass
def logged(function):
    @functools.wraps(function)
    def call(self):
        return function(self)
    return call
@dataclass
class C:
    number: int = 1
    @logged
    def tell(self): ...
old = C()
@dataclass
class C:
    number: int = 1
    @logged
    def tell(self): ...
""",
    "an old object": "class C: pass\nold = C()\nkept = [old]\nclass C: pass\n",
}


@pytest.fixture
def module() -> Iterator[Any]:
    """Give an importable module made for one test."""
    made = types.ModuleType("namesakes_of_a_test")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def stored(obj: object, modules: StepModules | None = None) -> Any:  # noqa: ANN401
    """Give the object of a stream of another one."""
    memory = MemoryTarget()
    dump(obj, memory, modules=modules or StepModules())
    return load_whole(memory.getvalue())


@pytest.mark.parametrize("prompt", [False, True], ids=["script", "prompt"])
@pytest.mark.parametrize("how", TOLD_APART_AT_A_PROMPT)
def test_both_are_in_use(
    how: str,
    prompt: bool,  # noqa: FBT001
    module: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An instance of the older class comes back as it was, in a script and at a prompt."""
    if prompt:
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    exec(TOLD_APART_AT_A_PROMPT[how], vars(module))  # noqa: S102
    old = module.old
    new = type(stored(old))
    for name in ("_fields", "number", "kind"):
        assert getattr(new, name, None) == getattr(type(old), name, None)


@pytest.mark.parametrize("how", AS_ONE_AT_A_PROMPT)
def test_defined_anew(how: str, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    """At a prompt the class of the name takes the instance. In a script it stays the older one."""
    exec(AS_ONE_AT_A_PROMPT[how], vars(module))  # noqa: S102
    assert type(stored(module.old)) is not module.C
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert type(stored(module.old)) is module.C


def test_reloaded_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that reloads a module stores older instances by the name of their class."""
    (tmp_path / "reloaded_in_test.py").write_text("class C:\n    def f(self): ...\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    made: Any = importlib.import_module("reloaded_in_test")
    old = made.C()
    assert type(stored(old)) is type(old)
    importlib.reload(made)
    assert type(old) is not made.C
    assert type(stored(old)) is made.C
    del sys.modules["reloaded_in_test"]
