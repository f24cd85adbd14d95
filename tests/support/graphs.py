"""Compare two graphs of objects: the same types, values, and references shared in the same way."""

from __future__ import annotations

import collections
import copyreg
import functools
import pathlib
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["difference"]

ATOMS = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
_OWN_NAMES = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "_abc_impl", "__firstlineno__"),
    *("__slotnames__", "__static_attributes__", "__annotate__", "__annotations_cache__"),
}
"""Attributes of a class that the interpreter makes."""
_CACHING = (type, types.FunctionType, types.ModuleType, pathlib.PurePath)
"""Kinds whose `__dict__` is compared elsewhere, or is only a cache."""
_CODE_PARTS = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags")
_Parts = list[tuple[str, object]]


def difference(one: object, other: object) -> str | None:
    """Describe the difference of two graphs, or return None if they are isomorphic.

    Every object that has an identity of its own (all but numbers, strings, bytes, empty tuples)
    must have one counterpart wherever it is referred to, in both directions.
    """
    return _Comparison().walk(one, other)


class _Comparison:
    def __init__(self) -> None:
        self._forth: dict[int, int] = {}
        self._back: dict[int, int] = {}
        self._alive: list[object] = []
        self._waiting: collections.deque[tuple[str, object, object]] = collections.deque()

    def walk(self, one: object, other: object) -> str | None:
        self._waiting.append(("it", one, other))
        while self._waiting:
            path, left, right = self._waiting.popleft()
            found = self._compare(path, left, right)
            if found is not None:
                return found
        return None

    def _compare(self, path: str, one: object, other: object) -> str | None:
        if type(one) in ATOMS and type(one) is type(other):
            same = one == other or (one != one and other != other)  # noqa: PLR0124 - NaN
            return None if same else f"{path}: values differ"
        if type(one) is type(other) is tuple and one == () == other:
            return None
        if type(one) is not type(other) and not self._pair_classes(path, one, other):
            return f"{path}: a {type(one)} became a {type(other)}"
        met = self._meet(path, one, other)
        if met is None and one is not other:
            return self._enter(path, one, other)
        return met or None

    def _pair_classes(self, path: str, one: object, other: object) -> bool:
        """Queue the classes of two instances, where both may have been written by value."""
        left, right = type(one), type(other)
        self._waiting.append((f"type({path})", left, right))
        return (left.__module__, left.__qualname__) == (right.__module__, right.__qualname__)

    def _meet(self, path: str, one: object, other: object) -> str | None:
        """Pair two objects: None if they are new, "" if they met before, else the difference."""
        self._alive += (one, other)
        forth, back = self._forth.get(id(one)), self._back.get(id(other))
        if forth is None and back is None:
            self._forth[id(one)], self._back[id(other)] = id(other), id(one)
            return None
        if forth == id(other) and back == id(one):
            return ""
        return f"{path}: references are shared in another way"

    def _enter(self, path: str, one: object, other: object) -> str | None:
        left, right = list(_parts(one)), list(_parts(other))
        if [name for name, _ in left] != [name for name, _ in right]:
            return f"{path}: {[n for n, _ in left]} became {[n for n, _ in right]}"
        for (name, mine), (_, theirs) in zip(left, right, strict=True):
            self._waiting.append((path + name, mine, theirs))
        return None


def _parts(obj: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401 - any object at all
    """Name all parts of `obj`."""
    for kind, take in _TAKERS.items():
        if isinstance(obj, kind):
            yield from take(obj)
            break
    else:
        yield from _reduced(obj)
    if not isinstance(obj, _CACHING):
        yield from _attributes(obj)


def _attributes(obj: object) -> Iterator[tuple[str, object]]:
    for name, value in sorted(getattr(obj, "__dict__", {}).items()):
        yield f".{name}", value
    for kind in type(obj).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in {"__dict__", "__weakref__"} and hasattr(obj, name):
                yield f".{name}", getattr(obj, name)


def _reduced(obj: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401
    """Name the parts to which the class of an object reduces it for a pickle."""
    kind: Any = type(obj)
    if hasattr(obj, "__array_interface__"):
        yield from _array(obj)
        return
    own = kind in copyreg.dispatch_table or not (
        kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
    )
    if not own:
        return
    reduce = copyreg.dispatch_table.get(kind)
    made: Any = reduce(obj) if reduce is not None else obj.__reduce_ex__(4)
    if isinstance(made, str):
        yield " by name", made
        return
    yield ".<maker>", made[0]
    for number, argument in enumerate(made[1]):
        yield f".<argument {number}>", argument
    for number, item in enumerate(made[3] or () if len(made) > 3 else ()):
        yield f".<item {number}>", item


def _array(obj: Any) -> _Parts:  # noqa: ANN401
    facts: _Parts = [(".dtype", str(obj.dtype)), (".shape", repr(obj.shape))]
    facts.append((".fortran", bool(obj.flags.f_contiguous and not obj.flags.c_contiguous)))
    if obj.dtype.hasobject:
        facts += [(f".flat[{n}]", item) for n, item in enumerate(obj.ravel().tolist())]
    else:
        facts.append((".bytes", obj.tobytes()))
    return facts


def _mapping(obj: Any) -> Iterator[tuple[str, object]]:  # noqa: ANN401
    for number, (key, value) in enumerate(obj.items()):
        yield f".keys()[{number}]", key
        yield f"[{number}]", value
    if isinstance(obj, collections.defaultdict):
        yield ".default_factory", obj.default_factory


def _sequence(obj: Any) -> _Parts:  # noqa: ANN401
    items = [(f"[{number}]", item) for number, item in enumerate(obj)]
    return [*items, (".maxlen", getattr(obj, "maxlen", None))]


def _set(obj: Any) -> _Parts:  # noqa: ANN401
    return _sequence(sorted(obj, key=lambda item: (type(item).__name__, repr(item))))


def _function(obj: types.FunctionType) -> _Parts:
    code = obj.__code__
    facts: _Parts = [(f".{name}", getattr(code, name)) for name in _CODE_PARTS]
    facts += [(".co_consts", [c for c in code.co_consts if not isinstance(c, types.CodeType)])]
    facts += [(f".{n}", getattr(obj, n)) for n in ("__name__", "__qualname__", "__module__")]
    facts += [(f".{n}", getattr(obj, n)) for n in ("__defaults__", "__kwdefaults__", "__dict__")]
    cells = obj.__closure__ or ()
    return facts + [(f".__closure__[{number}]", cell) for number, cell in enumerate(cells)]


def _cell(obj: types.CellType) -> _Parts:
    try:
        return [(".cell_contents", obj.cell_contents)]
    except ValueError:
        return [(" is empty", None)]


def _class(obj: type) -> Iterator[tuple[str, object]]:
    yield " is named", (obj.__module__, obj.__qualname__)
    yield " metaclass", type(obj)
    yield " bases", obj.__bases__
    for name, value in sorted(obj.__dict__.items()):
        if name not in _OWN_NAMES and not isinstance(value, types.MemberDescriptorType):
            yield f".{name}", value


def _attributes_named(*names: str) -> Callable[[Any], _Parts]:
    return lambda obj: [(f".{name}", getattr(obj, name)) for name in names]


_TAKERS: dict[Any, Callable[[Any], Any]] = {
    type: _class,
    types.ModuleType: _attributes_named("__name__"),
    types.FunctionType: _function,
    types.CellType: _cell,
    types.CodeType: _attributes_named(*_CODE_PARTS),
    types.MethodType: _attributes_named("__func__", "__self__"),
    types.BuiltinMethodType: _attributes_named("__name__", "__self__"),
    types.MappingProxyType: _mapping,
    functools.partial: _attributes_named("func", "args", "keywords"),
    functools.partialmethod: _attributes_named("func", "args", "keywords"),
    (staticmethod, classmethod): _attributes_named("__func__"),
    property: _attributes_named("fget", "fset", "fdel"),
    slice: _attributes_named("start", "stop", "step"),
    (dict, collections.UserDict): _mapping,
    (list, tuple, collections.deque): _sequence,
    (set, frozenset): _set,
    (bytearray, memoryview): lambda obj: [(".bytes", bytes(obj))],
    (range, pathlib.PurePath): lambda obj: [(" as text", repr(obj))],
    BaseException: _attributes_named("args"),
}
