"""Whether a class is the old version of the class that has its name now, or a class of its own.

Only a cell executed again, a statement typed again and a reloaded module make old versions. What
cannot be told apart counts as a class of its own, and is stored by value: that loses nothing.
"""

from __future__ import annotations

import re
import types
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from aiocheckpoint._model.interactive import is_interactive

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_old_version", "note_module"]

_Namespace = dict[str, Any]
_PROMPTS_OWN: Final = re.compile(r"_{1,3}|_\d+|_i{1,3}|_i\d+|_[dio]h|In|Out")
"""Names under which IPython keeps inputs and results."""
_MOST_VALUES: Final = 1000
"""Of a container, no more values are looked at."""
_DEPTH: Final = 5
_METHODS: Final = (staticmethod, classmethod)
_PLAIN: Final = frozenset({str, bytes, int, float, bool, type(None), types.ModuleType})
_LISTED: Final = (list, tuple, set, frozenset, deque)
_SPECS: Final[dict[str, object]] = {}
"""The `__spec__` of each module when a class of it was first stored. A reload makes another one."""


def note_module(name: str, namespace: _Namespace) -> None:
    """Note a module as it is, so that a reload of it is known later."""
    _SPECS.setdefault(name, namespace.get("__spec__"))


def is_old_version(old: object, new: object, namespace: _Namespace) -> bool:
    """Whether a class took the name of an older one, which nothing in the module holds.

    A decorator may give a subclass the name of the class that it took. Two functions of one name
    may both be in use, and so are written by value.

    Args:
        old: The object to write.
        new: The object that has its name.
        namespace: The namespace of their module.
    """
    return (
        isinstance(old, type)
        and isinstance(new, type)
        and (new.__module__, new.__qualname__) == (old.__module__, old.__qualname__)
        and not issubclass(new, old)
        and (is_interactive() or _is_reloaded(old.__module__, namespace))
        and _are_versions(old, new)
        and not _holds(namespace, old)
    )


def _is_reloaded(module: str, namespace: _Namespace) -> bool:
    spec = namespace.get("__spec__")
    return _SPECS.get(module, spec) is not spec


def _are_versions(old: type, new: type) -> bool:
    """Whether two classes may be of one definition that was executed twice.

    An execution again compiles its code again. A loop or a function makes classes of the same code.
    A class called `_` is one of many. Tuples of other fields cannot be made from each other.
    """
    if old.__name__ == "_" or getattr(old, "_fields", None) != getattr(new, "_fields", None):
        return False
    codes = {id(code) for code in _codes(new)}
    return not any(id(code) in codes for code in _codes(old))


def _codes(kind: type) -> Iterable[types.CodeType]:
    """The code of the functions in the body of a class, without those that others gave it."""
    for value in vars(kind).values():
        function = value.__func__ if type(value) in _METHODS else value
        if type(function) is types.FunctionType:
            # A decorator gives its own function the name of a method, and not the name of the code.
            code = function.__code__
            if code.co_qualname == function.__qualname__ == f"{kind.__qualname__}.{code.co_name}":
                yield code


def _holds(namespace: _Namespace, kind: type) -> bool:
    """Whether a name, a container, a class, an object or a closure of a module holds a class."""
    module, seen = kind.__module__, {id(namespace)}
    level: list[object] = [
        value for key, value in list(namespace.items()) if not _PROMPTS_OWN.fullmatch(key)
    ]
    for _ in range(_DEPTH):
        if any(value is kind for value in level):
            return True
        parents, level = level, []
        for value in parents:
            if type(value) not in _PLAIN and id(value) not in seen:
                seen.add(id(value))
                level += _values_in(value, module)[:_MOST_VALUES]
    return False


def _values_in(value: Any, module: str) -> list[object]:  # noqa: ANN401 - any object at all
    kind = type(value)
    if issubclass(kind, dict):
        return list(dict.values(value))
    if issubclass(kind, _LISTED):
        return list(value)
    if kind is types.FunctionType:
        return _enclosed(value) if value.__module__ == module else []
    if (value if issubclass(kind, type) else kind).__module__ != module:
        return []
    try:
        attributes = vars(value)
    except Exception:  # noqa: BLE001 - the user's own __getattribute__, or an object of slots
        return []
    # A class holds its bases and the types of its fields under names of this form.
    return [one for key, one in list(attributes.items()) if not key.startswith("__")]


def _enclosed(function: types.FunctionType) -> list[object]:
    found: list[object] = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # It is empty as yet.
            continue
    return found
