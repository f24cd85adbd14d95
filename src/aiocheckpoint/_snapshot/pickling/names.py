"""The names of functions and classes: how each is written, and where it is found again.

The namespace of a script is usually that of the module `__main__`. Under a profiler it is not, and
a program that imports the script as a module has another `__main__`. So the modules in which the
steps of a flow are defined count as well.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import types
from typing import TYPE_CHECKING, Any, Final

from aiocheckpoint._concurrency.callables import unwrap_callable
from aiocheckpoint._snapshot.pickling.redefined import is_old_version, note_module

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FUNCTION_TYPES",
    "MAIN",
    "NO_MODULES",
    "RESOLVE",
    "MissingNameError",
    "StepModules",
    "find_name",
    "is_main",
    "refer",
    "resolve_name",
    "resolver",
]

MAIN: Final = "__main__"
_MAIN_NAMES: Final = frozenset({MAIN, "__mp_main__"})
"""`multiprocessing` runs the script again under the second name in each process that it spawns."""
RESOLVE: Final = "pkgutil:resolve_name"
"""The function that finds a name which the pickler would not find."""
FUNCTION_TYPES: Final = (types.FunctionType, type(functools.cache(len)))
_Namespace = dict[str, Any]
_NOTHING: Final[_Namespace] = {}


class MissingNameError(Exception):
    """A stream names a function or class that is not found. The message says so."""

    def __init__(self, module: str, name: str, why: str) -> None:
        super().__init__(f'"{module}:{name}" is not found: {why}')


class StepModules:
    """The modules in which the steps of a flow are defined, as their namespaces.

    A copy in another process is empty until the flow notes its steps there.

    Attributes:
        maker: Name of the module that made the flow.
    """

    __slots__ = ("_namespaces", "maker")

    def __init__(self, maker: str = "") -> None:
        self._namespaces: dict[int, _Namespace] = {}
        self.maker: str = maker

    def __reduce__(self) -> tuple[Any, ...]:
        return StepModules, (self.maker,)

    def note(self, function: Callable[..., Any]) -> None:
        """Note the module of a step's function, under its decorators."""
        found = inspect.unwrap(unwrap_callable(function))
        namespace = getattr(unwrap_callable(found), "__globals__", None)
        if isinstance(namespace, dict):
            self._namespaces.setdefault(id(namespace), namespace)

    def prefer(self, maker: str) -> None:
        """Note the module that made the flow. Started as a script, it is `__main__`."""
        self.maker = maker

    def holds(self, namespace: _Namespace) -> bool:
        """Whether a step is defined in a namespace."""
        return id(namespace) in self._namespaces

    def names(self) -> list[str]:
        """The names of the module that made the flow and of the noted ones, each once."""
        noted = (str(one.get("__name__")) for one in self._all())
        return [*dict.fromkeys([self.maker, *noted])]

    def called(self, module: str) -> list[_Namespace]:
        """The noted namespaces of modules of this name."""
        names = _MAIN_NAMES if module in _MAIN_NAMES else {module}
        return [one for one in self._all() if str(one.get("__name__")) in names]

    def searched(self, module: str) -> list[_Namespace]:
        """The namespaces in which a name of a module is looked for, in this order.

        Empty where the module is to be imported.
        """
        own = self.called(MAIN)
        if module in _MAIN_NAMES:
            others = [one for one in self._all() if str(one.get("__name__")) not in _MAIN_NAMES]
            others.sort(key=lambda one: one.get("__name__") != self.maker)
            return [*own, vars(sys.modules[MAIN]), *others]
        called = self.called(module)
        if called or module in sys.modules:
            return called
        scripts = own or [vars(sys.modules[MAIN])]
        return scripts if any(_is_script(one, module) for one in scripts) else []

    def _all(self) -> list[_Namespace]:
        return list(self._namespaces.values())


NO_MODULES: Final = StepModules()
"""For states that are stored and loaded without a flow."""


def is_main(namespace: _Namespace, modules: StepModules) -> bool:
    """Whether a dict is the namespace of a script, and not one that somebody called `__main__`.

    A profiler executes the script in a dict that no module has. It has the script's file.
    """
    name = namespace.get("__name__")
    if not isinstance(name, str) or name not in _MAIN_NAMES or "__builtins__" not in namespace:
        return False
    if any(namespace is getattr(sys.modules.get(one), "__dict__", None) for one in _MAIN_NAMES):
        return True
    return modules.holds(namespace) or namespace.get("__file__", "") in sys.argv[:1]


def refer(obj: Any, modules: StepModules) -> str | tuple[Any, ...] | None:  # noqa: ANN401
    """The way to write a function or class by its name, as `reducer_override` gives it.

    Args:
        obj: A function or class.
        modules: The modules of the steps.

    Returns:
        The qualified name where the pickler itself finds the object under it. A call that finds
        it where only `modules` have it, or where it was defined anew. None where no name finds it.
    """
    module, name = getattr(obj, "__module__", None), obj.__qualname__
    if not isinstance(module, str):
        return None
    loaded = getattr(sys.modules.get(module), "__dict__", _NOTHING)
    at_its_name = loaded.get(name) is obj or _look_up(loaded, name) is obj
    note_module(module, loaded)
    if at_its_name and module != "__mp_main__":
        return str(name)
    for namespace in (*modules.called(module), loaded):
        found = _look_up(namespace, name)
        if found is obj or is_old_version(obj, found, namespace):
            return resolve_name(), (f"{MAIN if module in _MAIN_NAMES else module}:{name}",)
    return None


def resolve_name() -> Callable[[str], Any]:
    """Python's function that finds "module:name"."""
    from pkgutil import resolve_name  # noqa: PLC0415 - few states need it

    return resolve_name


def _look_up(namespace: Any, name: str) -> Any:  # noqa: ANN401 - a function or class
    """Find a qualified name in a namespace, or give None."""
    first, *others = name.split(".")
    found: Any = namespace.get(first)
    for part in others:
        found = getattr(found, part, None)
    return found


def find_name(modules: StepModules, module: str, name: str, find: Callable[[str, str], Any]) -> Any:  # noqa: ANN401 - a function or class
    """Find a name of a stream.

    Args:
        modules: The modules of the steps.
        module: Name of the module.
        name: Qualified name in it.
        find: Imports the module and finds the name.

    Raises:
        MissingNameError: It is not found.
    """
    searched = modules.searched(module)
    for namespace in searched:
        found = namespace if name == "__dict__" else _look_up(namespace, name)
        if found is not None:
            return found
    if searched and module not in sys.modules:
        raise MissingNameError(module, name, "the script has no such name")
    try:
        return find(module, name)
    except ModuleNotFoundError as error:
        own = f"{module}.".startswith(f"{error.name}.")
        why = "there is no module" if own else "importing the module needs"
        raise MissingNameError(module, name, f"{why} {error.name!r}") from error
    except AttributeError as error:
        raise MissingNameError(module, name, "the module has no such name") from error
    except Exception as error:
        why = f"importing the module raised {type(error).__name__}"
        raise MissingNameError(module, name, why) from error


def resolver(find_class: Callable[[str, str], Any]) -> Callable[[str], Any]:
    """The function that takes the place of `pkgutil.resolve_name` while a stream is loaded."""

    def resolve(name: str) -> Any:  # noqa: ANN401
        module, _, qualified = name.partition(":")
        return find_class(module, qualified)

    return resolve


def _is_script(namespace: _Namespace, module: str) -> bool:
    """Whether importing a module would execute the script of a namespace a second time."""
    spec = namespace.get("__spec__")
    if getattr(spec, "name", None) == module:
        return True
    file, last = namespace.get("__file__"), module.rpartition(".")[2]
    if not isinstance(file, str):
        return False
    stem = os.path.splitext(os.path.basename(file))[0]
    return stem == last and _file_of(module) == os.path.realpath(file)


def _file_of(module: str) -> str | None:
    import importlib.util  # noqa: PLC0415 - few programs need it

    try:
        spec = importlib.util.find_spec(module)
    except Exception:  # noqa: BLE001 - importing a parent runs its code
        return None
    return None if spec is None or spec.origin is None else os.path.realpath(spec.origin)
