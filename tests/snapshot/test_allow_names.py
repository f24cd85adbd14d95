"""Names that only the flow's steps lead to, under `allow=`: listed as all others."""

from __future__ import annotations

import functools
import io
import pickle
import pkgutil
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from aiocheckpoint import LocalStateHandler, UnserializableStateError, UntrustedSnapshotError
from aiocheckpoint._snapshot.pickling.listed import RefusedChangeError, RefusedGlobalError
from aiocheckpoint._snapshot.pickling.names import StepModules
from aiocheckpoint._snapshot.pickling.unpicklers import load_restricted

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import FlowFactory, State

FAST: dict[str, Any] = {"fsync": False}
SCRIPT = """
class Config:
    def __init__(self, rate):
        self.rate = rate
def step(state):
    pass
def run(command):
    raise SystemExit(command)
"""


@pytest.fixture
def script() -> Any:  # noqa: ANN401
    """Give the namespace of a script that is not in `sys.modules`, as under a profiler."""
    made = types.ModuleType("__main__")
    vars(made)["__builtins__"] = __builtins__
    exec(SCRIPT, vars(made))  # noqa: S102
    return made


def handler_of(script: Any, flows: FlowFactory, *names: str) -> LocalStateHandler:  # noqa: ANN401
    """Make the handler of a flow of the script."""
    cp = flows.flow(allow=names, **FAST)
    cp.add_step(name="step")(script.step)
    handler: LocalStateHandler = cp.handler
    return handler


def test_listed_name_of_a_script(
    script: Any,  # noqa: ANN401
    flows: FlowFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listed class of the script is stored and found, also after a cell defined it anew."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    handler = handler_of(script, flows, "__main__:Config")
    old = script.Config(1)
    handler.write({"one": [old, script.Config(2)], "kind": script.Config})
    assert [type(one) for one in handler.read()["one"]] == [script.Config, script.Config]
    exec(SCRIPT, vars(script))  # noqa: S102
    handler.write({"one": old, "two": script.Config(2)})
    read = handler.read()
    assert (type(read["one"]), read["one"].rate, read["two"].rate) == (script.Config, 1, 2)


def test_name_that_is_not_listed(script: Any, flows: FlowFactory) -> None:  # noqa: ANN401
    """A class of the script that is not listed is refused, by writer and reader."""
    with pytest.raises(UnserializableStateError, match="__main__:Config"):
        handler_of(script, flows).write({"one": script.Config(1)})
    handler_of(script, flows, "__main__:Config").write({"one": script.Config(1)})
    with pytest.raises(UntrustedSnapshotError, match="__main__:Config"):
        handler_of(script, flows).read()


class Call:
    """Is pickled as a call."""

    def __init__(self, function: Callable[..., Any], *args: object) -> None:
        self.reduced = function, args

    def __reduce__(self) -> Any:  # noqa: ANN401
        return self.reduced


RESOLVED = Call(pkgutil.resolve_name, "__main__:run")
SMUGGLED: dict[str, tuple[object, type[Exception]]] = {
    "another name": (Call(pkgutil.resolve_name, "os:system"), RefusedGlobalError),
    "a name of the script": (RESOLVED, RefusedGlobalError),
    "the namespace": (Call(pkgutil.resolve_name, "__main__:__dict__"), RefusedGlobalError),
    "the function itself": ([pkgutil.resolve_name], RefusedGlobalError),
    "the function, kept": (Call(functools.partial, pkgutil.resolve_name), RefusedGlobalError),
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_no_way_past_the_list(name: str, script: Any) -> None:  # noqa: ANN401
    """The function that finds names finds listed ones alone, and is no value itself."""
    value, error = SMUGGLED[name]
    modules = StepModules()
    modules.note(script.step)
    allow = frozenset({"__main__:Config", "functools:partial"})
    with pytest.raises(error):
        load_restricted(io.BytesIO(pickle.dumps({"v": value}, 5)), allow, modules)


def test_a_found_class_is_not_changed(script: Any) -> None:  # noqa: ANN401
    """A class that was found this way cannot be changed by the stream."""
    modules = StepModules()
    modules.note(script.step)
    call = pickle.dumps(Call(pkgutil.resolve_name, "__main__:Config"), 5)[:-1]
    stream = call + b"N}\x8c\x04rateK\x01s\x86b."
    with pytest.raises(RefusedChangeError):
        load_restricted(io.BytesIO(stream), frozenset({"__main__:Config"}), modules)
    assert not hasattr(script.Config, "rate")


def test_names_of_a_decorated_step(script: Any) -> None:  # noqa: ANN401
    """The module of a step is found under partials, decorators and methods."""

    @functools.wraps(script.step)
    def wrapper(state: State) -> None:
        script.step(state)

    for step in (functools.partial(script.step), wrapper, types.MethodType(script.step, {})):
        modules = StepModules()
        modules.note(step)
        assert modules.called("__main__") == [vars(script)]
    assert vars(script) is not vars(sys.modules["__main__"])
