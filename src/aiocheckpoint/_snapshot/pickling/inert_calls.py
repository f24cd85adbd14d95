"""Globals and calls of an inert stream: what they would make, told by their names alone."""

from __future__ import annotations

import builtins
import pickle
import re
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.inert_hashable import add_members
from aiocheckpoint._snapshot.pickling.inert_values import Placeholder

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._snapshot.pickling.inert_machine import InertMachine

__all__ = ["call", "make_new", "name_global"]

_COMPAT: Any = vars(pickle)["_compat_pickle"]
_RENAMED_SINCE = 3  # Streams of older protocols have the names of Python 2.
_LONGEST_NAME = 1_000
_RANGE = re.compile(r"range\((-?\d+), (-?\d+)(?:, (-?\d+))?\)", re.ASCII)


def name_global(machine: InertMachine, module: Any, name: Any) -> Placeholder:  # noqa: ANN401
    """The placeholder of a class or function. It is not looked up."""
    machine.made += 3
    if type(module) is not str or type(name) is not str:
        return Placeholder("global", "?", args=(module, name))
    if len(module) + len(name) >= _LONGEST_NAME:
        shown = f"{module[:_LONGEST_NAME]}.{name[:_LONGEST_NAME]}"
        found = _global(f"{shown[:_LONGEST_NAME]}...")
        found.args = (module, name)
        return found
    if machine.protocol < _RENAMED_SINCE:
        renamed = _COMPAT.NAME_MAPPING.get((module, name))
        module, name = renamed or (_COMPAT.IMPORT_MAPPING.get(module, module), name)
    return _global(f"{module}.{name}")


def _global(name: str) -> Placeholder:
    """The placeholder of a name that a stream chose, which may be no text of UTF-8."""
    return Placeholder("global", name.encode("utf-8", "backslashreplace").decode())


def make_new(machine: InertMachine, maker: Any, args: Any, named: Any = None) -> Placeholder:  # noqa: ANN401
    """What `maker.__new__(maker, *args, **named)` would make."""
    if type(args) is not tuple or (named is not None and type(named) is not dict):
        raise TypeError
    _charge(machine, 3 + len(args))
    given = (*args, named) if named else args
    return _object(maker, "new", given)


def _object(maker: Any, how: str, args: Any) -> Placeholder:  # noqa: ANN401
    if isinstance(maker, Placeholder) and maker.kind == "global":
        return Placeholder("object", _MADE_BY.get(maker.type, maker.type), how, args)
    return Placeholder("object", "?", how, (maker, args))


def call(machine: InertMachine, maker: Any, args: Any) -> Any:  # noqa: ANN401
    """What `maker(*args)` would make. Plain data where the maker is a builtin type."""
    if type(args) is not tuple:
        raise TypeError
    _charge(machine, 3 + (len(args) >> 4))
    name = maker.type if isinstance(maker, Placeholder) and maker.kind == "global" else ""
    make = _PLAIN.get(name)
    if make is not None:
        made = make(machine, args)
        if made is not None:
            return made
    remade = _REMADE.get(name)
    return (remade(args) if remade is not None else None) or _object(maker, "call", args)


# --- plain data


def _charge(machine: InertMachine, count: int) -> None:
    """A call may make many values from few bytes."""
    machine.made += count
    if count > 1 << 10:
        machine.check(len(machine.stack) + len(machine.memo))


def _set(make: Callable[[set[Any]], Any]) -> Callable[[InertMachine, tuple[Any, ...]], Any]:
    def called(machine: InertMachine, args: tuple[Any, ...]) -> Any:  # noqa: ANN401
        if len(args) != 1 or type(args[0]) not in (list, tuple):
            return None if args else make(set())
        _charge(machine, len(args[0]))
        return make(add_members(machine, set(), list(args[0])))

    return called


def _bytes(_machine: InertMachine, args: tuple[Any, ...]) -> bytes | None:
    if args and type(args[0]) is not bytes:
        return None
    return args[0] if len(args) == 1 else None if args else b""


def _encoded(machine: InertMachine, args: tuple[Any, ...]) -> bytes | None:
    """Bytes in protocols 0 to 2."""
    match args:
        case (str(text), "latin1" | "latin-1"):
            _charge(machine, len(text) >> 4)
            made: bytes = machine.note_long(text.encode("latin-1"))
            return made
        case _:
            return None


def _bytearray(machine: InertMachine, args: tuple[Any, ...]) -> bytearray | None:
    """A bytearray in protocols 0 to 4."""
    match args:
        case ():
            return bytearray()
        case (bytes(content),):
            pass
        case (str(text), "latin-1" | "latin1"):
            content = text.encode("latin-1")
        case _:
            return None
    _charge(machine, len(content) >> 4)
    made: bytearray = machine.note_long(bytearray(content))
    return made


def _complex(_machine: InertMachine, args: tuple[Any, ...]) -> complex | None:
    match args:
        case (float(real), float(imag)):
            return complex(real, imag)
        case _:
            return None


_PLAIN: dict[str, Callable[[InertMachine, tuple[Any, ...]], Any]] = {
    "builtins.set": _set(set),
    "builtins.frozenset": _set(frozenset),
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytearray,
    "builtins.complex": _complex,
    "_codecs.encode": _encoded,
}


# --- functions that make objects of a class that they are given, or of one that is known

_MADE_BY = {
    "re._compile": "re.Pattern",
    "zoneinfo.ZoneInfo._unpickle": "zoneinfo.ZoneInfo",
    "numpy._core.numeric._frombuffer": "numpy.ndarray",
    "numpy.core.numeric._frombuffer": "numpy.ndarray",
    "numpy._core.multiarray._reconstruct": "numpy.ndarray",
    "numpy.core.multiarray._reconstruct": "numpy.ndarray",
    "dill._dill._create_array": "numpy.ndarray",
    "numpy._core.multiarray.scalar": "numpy.generic",
    "numpy.core.multiarray.scalar": "numpy.generic",
    "pandas._libs.tslibs.timestamps._unpickle_timestamp": "pandas.Timestamp",
}
"""Types by the functions that objects of them are pickled with."""


def _is_global(value: object) -> bool:
    return isinstance(value, Placeholder) and value.kind == "global"


def _reconstructed(args: tuple[Any, ...]) -> Placeholder | None:
    """Objects in protocols 0 and 1."""
    match args:
        case (cls, Placeholder(type="builtins.object"), None) if _is_global(cls):
            return _object(cls, "new", ())
        case (cls, Placeholder(), content) if _is_global(cls):
            return _object(cls, "new", (content,))
        case _:
            return None


def _newobj(args: tuple[Any, ...]) -> Placeholder | None:
    match args:
        case (cls, *rest) if _is_global(cls):
            return _object(cls, "new", tuple(rest))
        case _:
            return None


def _attribute(args: tuple[Any, ...]) -> Placeholder | None:
    """A member of a class, or one of its methods."""
    match args:
        case (Placeholder(kind="global", type=owner), str(name), *_) if (
            len(owner) + len(name) < _LONGEST_NAME
        ):
            return _global(f"{owner}.{name}")
        case _:
            return None


def _resolved(args: tuple[Any, ...]) -> Placeholder | None:
    """A class or function of a script, whose module and name are one text."""
    match args:
        case (str(name),) if len(name) < _LONGEST_NAME:
            return _global(name.replace(":", ".", 1))
        case _:
            return None


def _type_of_dill(args: tuple[Any, ...]) -> Placeholder | None:
    """A builtin type, by the name that dill has for it."""
    match args:
        case (str(name),) if len(name) < _LONGEST_NAME:
            module = "builtins" if hasattr(builtins, name) else "types"
            return _global(f"{module}.{name}")
        case _:
            return None


def _text_of_dill(args: tuple[Any, ...]) -> Placeholder | None:
    """A range or a builtin constant, which dill writes as text."""
    match args:
        case ("Ellipsis" | "NotImplemented" as name,):
            return _global(f"builtins.{name}")
        case (str(text),) if len(text) < _LONGEST_NAME and (found := _RANGE.fullmatch(text)):
            numbers = (*map(int, found.group(1, 2)), int(found[3] or 1))
            return Placeholder("object", "builtins.range", "call", numbers)
        case _:
            return None


def _namedtuple_of_dill(args: tuple[Any, ...]) -> Placeholder | None:
    """A class of named tuples, which dill finds by its name."""
    match args:
        case (str(name), tuple(), str(module), *_) if len(module) + len(name) < _LONGEST_NAME:
            return _global(f"{module}.{name}")
        case _:
            return None


def _by_value(name: str) -> Callable[[tuple[Any, ...]], Placeholder | None]:
    """Functions and classes that dill writes by value."""

    def made(args: tuple[Any, ...]) -> Placeholder:
        return Placeholder("object", name, "by value", args)

    return made


_REMADE: dict[str, Callable[[tuple[Any, ...]], Placeholder | None]] = {
    "copyreg._reconstructor": _reconstructed,
    "copyreg.__newobj__": _newobj,
    "builtins.getattr": _attribute,
    "pkgutil.resolve_name": _resolved,
    "dill._dill._load_type": _type_of_dill,
    "dill._dill._eval_repr": _text_of_dill,
    "dill._dill._create_namedtuple": _namedtuple_of_dill,
    "dill._dill._getattr": _attribute,
    **{
        f"dill._dill.{function}": _by_value(name)
        for function, name in {
            "_create_function": "function",
            "_create_type": "type",
            "_create_code": "code",
            "_create_cell": "cell",
            "_import_module": "module",
        }.items()
    },
}
