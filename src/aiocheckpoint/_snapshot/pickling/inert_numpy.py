"""Arrays and scalars of numpy in an inert tree: type, shape, and the bytes of their values."""

from __future__ import annotations

import struct
from typing import Any

from aiocheckpoint._snapshot.pickling.inert_values import MISSING, Known, Placeholder

__all__ = ["array_of", "scalar_of"]

_FORMATS = {
    "f2": "e",
    "f4": "f",
    "f8": "d",
    "b1": "?",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
}
_NAMES = {"b1": "bool", "M": "datetime64", "m": "timedelta64", "U": "str_", "S": "bytes_"}
_MOST_DIMENSIONS, _LONGEST_NAME, _MOST_PARTS = 64, 20, 10
_KINDS = {"f": "float", "i": "int", "u": "uint", "c": "complex"}


def array_of(found: Placeholder) -> Known | None:
    """An array, in whatever way it was written."""
    match found:
        case Placeholder(args=(content, dtype, tuple(shape), str(order)), state=state) if (
            state is MISSING
        ):
            return _array(shape, dtype, content, order)
        case Placeholder(
            args=(
                Placeholder(kind="global", type=maker),
                (cls, *_),
                (_, tuple(shape), dtype, fortran, content),
                None,
            )
        ) if maker.endswith("._reconstruct"):
            return _array(shape, dtype, content, "F" if fortran else "C", cls)
        case Placeholder(args=(cls, *_), state=(_, tuple(shape), dtype, fortran, content)):
            return _array(shape, dtype, content, "F" if fortran else "C", cls)
        case _:
            return None


def _array(shape: Any, dtype: Any, content: Any, order: str, cls: Any = None) -> Known | None:  # noqa: ANN401
    name = "numpy.ndarray" if cls is None else getattr(cls, "type", None)
    text = _dtype(dtype)
    if name is None or text is None or len(shape) > _MOST_DIMENSIONS:
        return None
    if not all(type(one) is int and 0 <= one < 1 << 63 for one in shape):
        return None
    return Known(name, {"dtype": text, "shape": list(shape)}, (content, order, *_fields(dtype)))


def _dtype(dtype: Any) -> str | None:  # noqa: ANN401
    """The text of a type, such as "<f8"."""
    match dtype:
        case Placeholder(
            type="numpy.dtype",
            args=(str(name), *_),
            state=(_, "<" | ">" | "|" | "=" as order, *more),
        ) if len(name) <= _LONGEST_NAME and len(more) <= _MOST_PARTS:
            return name if order == "|" else order + name
        case _:
            return None


def _fields(dtype: Placeholder) -> tuple[Any, ...]:
    """What the text of a type does not tell: the names of fields, and the unit of a time."""
    return tuple(dtype.state[2:])


def scalar_of(found: Placeholder) -> Known | None:
    """A scalar."""
    match found:
        case Placeholder(args=(dtype, bytes(content)), state=state) if state is MISSING:
            text = _dtype(dtype)
        case _:
            return None
    if text is None:
        return None
    kind = text.lstrip("<>=")
    facts: dict[str, Any] = {"dtype": text}
    if kind in _FORMATS:
        order = ">" if text.startswith(">") else "<"
        facts["value"] = repr(struct.unpack(order + _FORMATS[kind], content)[0])
    return Known(_scalar_type(kind), facts, (content, *_fields(dtype)))


def _scalar_type(kind: str) -> str:
    if kind in _NAMES or kind[:1] in _NAMES:
        return f"numpy.{_NAMES.get(kind) or _NAMES[kind[:1]]}"
    name, bits = _KINDS.get(kind[:1]), kind[1:]
    return f"numpy.{name}{int(bits) * 8}" if name and bits.isdigit() else "numpy.generic"
