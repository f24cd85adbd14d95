"""Whether a change of an object of a stream changes this object alone.

The C unpickler is asked by class, before anything is loaded. Python's own is asked by object.
Attributes of classes are looked up past the hooks of the classes, which could answer anything.
"""

from __future__ import annotations

import abc
import collections
import sys
import types
from typing import Any

__all__ = ["UNSHARED", "changes_itself", "has_own_method", "makes_new_instances"]

_BUILTINS: tuple[Any, ...] = (
    *(object, dict, list, set, frozenset, tuple, int, float, complex, str, bytes, bytearray),
    *(collections.OrderedDict, collections.defaultdict, collections.deque),
)
"""Types whose `__new__` makes a new instance of a subclass, with attributes of its own."""
_METACLASSES = (type, abc.ABCMeta)
"""Classes of classes that only make an instance when they are called."""
_MRO: Any = vars(type)["__mro__"]
_NAMESPACE: Any = vars(type)["__dict__"]
_FORBIDDEN = frozenset({"__class__", "__dict__"})
_PAIR = 2
UNSHARED = 2
"""References to an object with one holder, and the argument of the count itself."""


def makes_new_instances(found: Any, *, called: bool, slots: bool) -> bool:  # noqa: ANN401
    """Whether a listed class makes an object each time that holds its attributes itself.

    Args:
        found: The listed object.
        called: Whether it is called. Otherwise only its `__new__` is.
        slots: Whether attributes are set afterwards. Otherwise only items of `__dict__` are.
    """
    if not any(type(found) is one for one in _METACLASSES):
        return False
    new = _defined(found, "__new__")
    return (
        type(new) is types.BuiltinFunctionType
        and any(new.__self__ is one for one in _BUILTINS)
        and _defined(found, "__getattr__") is None
        and _is_plain(found, "__getattribute__")
        and _has_plain_dict(found)
        and not (called and not _is_plain(found, "__init__"))
        and not (slots and not _is_plain(found, "__setattr__"))
    )


def has_own_method(target: object, name: str) -> bool:
    """Whether a method, if an object has it, is that of its class and is bound to the object."""
    found = getattr(target, name, None)
    if found is None:
        return True
    return _defined(type(target), name) is not None and getattr(found, "__self__", target) is target


def changes_itself(target: object, state: Any) -> bool:  # noqa: ANN401 - any state of a stream
    """Whether a state that is given to an object changes this object alone."""
    if getattr(target, "__setstate__", None) is not None:
        found = _defined(type(target), "__setstate__")
        if found is vars(BaseException)["__setstate__"] and not _has_names(state):
            return False
        return has_own_method(target, "__setstate__")  # The listed class decides.
    if isinstance(state, tuple):
        if type(state) is not tuple:  # pyright: ignore[reportUnknownArgumentType]
            return False
        slots = state[1] if len(state) == _PAIR else None
        if not _has_names(slots) or (slots and not _is_plain(type(target), "__setattr__")):
            return False
    return _has_own_attributes(target)


def _has_names(attributes: Any) -> bool:  # noqa: ANN401 - any state of a stream
    """Whether it is a dict of attributes, or nothing. A class of dicts could hide its names."""
    return attributes is None or (
        type(attributes) is dict
        and all(type(name) is str and name not in _FORBIDDEN for name in attributes)
    )


def _has_own_attributes(target: object) -> bool:
    """Whether nothing else holds the attributes of an object. It may have none."""
    if not _has_plain_dict(type(target)):
        return False
    if not hasattr(target, "__dict__"):
        return True
    try:
        own = object.__getattribute__(target, "__dict__")
    except AttributeError:
        return False  # They are those of an object that it wraps, such as a method's function.
    if own is not getattr(target, "__dict__"):  # noqa: B009 - which a class may define
        return False
    del own
    return sys.getrefcount(getattr(target, "__dict__")) <= UNSHARED  # noqa: B009


def _defined(kind: type, name: str) -> Any:  # noqa: ANN401 - any attribute
    """Give the attribute that a class defines or inherits, unbound. None without it."""
    for one in _MRO.__get__(kind):
        namespace = _NAMESPACE.__get__(one)
        if name in namespace:
            return namespace[name]
    return None


def _is_plain(kind: type, name: str) -> bool:
    """Whether a special method is that of a builtin class."""
    found = _defined(kind, name)
    return type(found) is types.WrapperDescriptorType and any(
        found.__objclass__ is one for one in (*_BUILTINS, BaseException)
    )


def _has_plain_dict(kind: type) -> bool:
    """Whether `__dict__` is the attributes that each instance holds, if there are any."""
    found = _defined(kind, "__dict__")
    return found is None or (
        type(found) is types.GetSetDescriptorType and found.__name__ == "__dict__"
    )
