"""Objects to pickle streams and back: the reach of dill at the speed of the C pickler.

A dump is tried with the C pickler first. It calls `reducer_override` for every class, function and
instance that is not of a plain built-in type. That gives up at the first object which dill would
write in another way. These are functions and classes that cannot be imported by name or are in
`__main__`, and instances of types registered with dill. Then dill writes the whole object, so that
shared references stay shared.

This is the only module that imports dill.
"""

from __future__ import annotations

import enum
import pickle
import sys
import types
from typing import TYPE_CHECKING, Any

import dill as untyped_dill  # type: ignore[import-untyped]

from aiocheckpoint._snapshot.pickling.allowlist import AllowlistPickler, UnserializableError
from aiocheckpoint._snapshot.pickling.refused_types import unloadable_reason
from aiocheckpoint._snapshot.pickling.unpicklers import load_restricted
from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from typing import BinaryIO

    from _typeshed import ReadableBuffer as Buffer

    from aiocheckpoint._snapshot.pickling.listed import Allow
    from aiocheckpoint._snapshot.target import PickleSink

__all__ = [
    "DILL_VERSION",
    "NESTED",
    "PROTOCOL",
    "NotSmallError",
    "UnserializableError",
    "dump",
    "dump_small",
    "load",
]

dill: Any = untyped_dill
DILL_VERSION: str = dill.__version__
PROTOCOL = 5
"""Pickle protocol of all snapshots, the newest that Python 3.8 and later read (PEP 574)."""

NESTED = "it is nested too deeply"
"""The reason for objects that exhaust the recursion of the pickler."""

_BY_VALUE = frozenset({"_create_code", "_create_function", "_create_type", "new_class"})
"""Names of the functions by which dill rebuilds code and classes written by value."""


_SAME = frozenset({range, slice, type(...), type(NotImplemented)})
_SAME_BY_NAME = frozenset({"save_numpy_ufunc", "save_numpy_dtype"})
"""Types for which dill has functions of its own that write the same as the C pickler."""


_PLAIN_CLASSES = frozenset(
    {
        *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
        ("decimal", "Decimal"),
        ("uuid", "UUID"),
    }
)
"""Classes whose instances are pickled in little time, and by dill in the same way.

By name: a program with an instance has imported the module, and others need not.
"""


_SMALL_BYTES = (1 << 16) + 256


class _NeedsDillError(Exception):
    """The C pickler met an object that dill would write in another way."""


def dump(obj: object, target: PickleSink, allow: Allow | None = None) -> bool:
    """Write `obj` as one pickle stream of protocol 5 that `load` and plain `dill.load` read.

    Args:
        obj: Any object that dill can write.
        target: Takes the stream, in pieces as they are made.
        allow: The globals that it may name, and no code then. By default all.

    Returns:
        Whether the stream holds code: functions or classes by value, which only the same minor
        version of Python can load.

    Raises:
        UnserializableError: `obj` cannot be written.
        CheckpointError: `target` raised it.
    """
    pickler = (
        _PlainPickler(target, PROTOCOL)
        if allow is None
        else AllowlistPickler(target, PROTOCOL, allow)
    )
    try:
        pickler.dump(obj)
    except (CheckpointError, MemoryError, UnserializableError):
        raise
    except RecursionError:
        raise UnserializableError(NESTED) from None
    except Exception as error:
        if allow is not None:
            raise UnserializableError(f"it cannot be pickled ({type(error).__name__})") from error
        # dill may write objects that stop the C pickler.
        target.rewind()
        return _dump_by_dill(obj, target)
    return False


def dump_small(obj: object, allow: Allow | None = None) -> bytes:
    """Give the stream of `dump` for a small object of plain values.

    Raises:
        NotSmallError: The object is large, or holds other values, whose own code would run. It
            takes little time to find out.
    """
    spare = _SPARE if allow is None else _SPARE_OF_BUILTINS
    try:
        # Making a pickler takes longer than the dump itself.
        pickler, piece = spare.pop()
    except IndexError:
        piece = _SinglePieceSink()
        pickler = (
            _SmallPickler(piece, PROTOCOL) if allow is None else _BuiltinsPickler(piece, PROTOCOL)
        )
    try:
        pickler.dump(obj)
    except NotSmallError:
        raise
    except Exception as error:
        raise NotSmallError from error
    content, piece.content = piece.content, b""
    pickler.clear_memo()
    spare.append((pickler, piece))
    return content


class NotSmallError(Exception):
    """A state is too large or too complex to be written while an event loop waits."""


class _SinglePieceSink:
    """Takes a stream of one piece. The C pickler makes one piece of up to 64 KiB."""

    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content = b""

    def write(self, chunk: Buffer, /) -> None:
        if self.content or not isinstance(chunk, bytes) or len(chunk) > _SMALL_BYTES:
            raise NotSmallError
        self.content = chunk


def load(file: BinaryIO, allow: Allow | None = None) -> Any:  # noqa: ANN401 - any object at all
    """Read the pickle stream at the beginning of a file.

    Args:
        file: The file, seekable.
        allow: The allowlist of globals. By default the stream may name all, and so run any code:
            never load untrusted bytes that way.

    Raises:
        RefusedGlobalError, RefusedChangeError, BeyondBoundsError, MalformedError: Under `allow`,
            see `load_restricted`.
        Exception: Loading raised it.
    """
    file.seek(0)
    return dill.Unpickler(file).load() if allow is None else load_restricted(file, allow)


class _PlainPickler(pickle.Pickler):
    """The C pickler, for all objects that it writes as dill would."""

    def __init__(self, file: PickleSink, protocol: int) -> None:
        super().__init__(file, protocol)
        self._plain: set[type] = set()

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - fixed by pickle
        kind = type(obj)
        if kind in self._plain:
            return NotImplemented
        by_name = kind is types.FunctionType or kind is type
        if not by_name and _is_written_otherwise(kind):
            raise _NeedsDillError
        if by_name or issubclass(kind, type):
            if not _found_by_name(obj):
                raise _NeedsDillError
            return NotImplemented
        _refuse(obj)
        if not issubclass(kind, BaseException):
            self._plain.add(kind)
        return NotImplemented


class _BuiltinsPickler(pickle.Pickler):
    """The C pickler for plain built-in values alone."""

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401, ARG002 - fixed by pickle
        raise NotSmallError


class _SmallPickler(pickle.Pickler):
    """The C pickler for plain built-in values, and for instances of a few known classes."""

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - fixed by pickle
        kind = type(obj)
        if _is_plain_class(kind) or (kind is type and _is_plain_class(obj)):
            return NotImplemented
        raise NotSmallError


def _is_plain_class(kind: Any) -> bool:  # noqa: ANN401 - a class
    name = kind.__module__, kind.__qualname__
    return name in _PLAIN_CLASSES and getattr(sys.modules.get(name[0]), name[1], None) is kind


_SPARE: list[tuple[pickle.Pickler, _SinglePieceSink]] = []
_SPARE_OF_BUILTINS: list[tuple[pickle.Pickler, _SinglePieceSink]] = []
"""Idle picklers with their sinks. A garbage collection in the middle of a dump may need a second
one."""


def _found_by_name(obj: Any) -> bool:  # noqa: ANN401 - a class or a function
    """Whether importing by module and qualified name gives `obj`, outside `__main__`."""
    return getattr(obj, "__module__", None) != "__main__" and _is_at_its_name(obj)


def _is_at_its_name(obj: Any) -> bool:  # noqa: ANN401 - a class or a function
    module = getattr(obj, "__module__", None)
    found: Any = sys.modules.get(module) if module else None
    for part in obj.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is obj


def _is_written_otherwise(kind: type) -> bool:
    """Whether dill writes instances of `kind` in a way of its own that matters on load."""
    save = dict.get(dill.Pickler.dispatch, kind)
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.ndarray):
        # The C pickler loses the attributes of a subclass. Once dill has met an array it has an
        # entry for arrays that does the same for plain ones, and copies them.
        return kind is not numpy.ndarray or not (save is None or _is_dills_own(save))
    if save is None:
        return False
    return not (_is_dills_own(save) and (kind in _SAME or save.__name__ in _SAME_BY_NAME))


def _is_dills_own(save: Any) -> bool:  # noqa: ANN401
    return bool(getattr(save, "__module__", None) == dill.Pickler.__module__)


def _refuse(obj: object) -> None:
    """Raise UnserializableError if `obj` would not load as the same object."""
    reason = unloadable_reason(obj)
    if reason is not None:
        raise UnserializableError(reason)


class _DillPickler(dill.Pickler):  # type: ignore[misc] # pyright: ignore[reportUntypedBaseClass]
    """dill's pickler, which notes whether code is written, and refuses types that load badly."""

    # dill recognizes its own pickler by this name, and writes the namespace of __main__ by
    # reference only for that one.
    __module__ = dill.Pickler.__module__

    def __init__(self, file: PickleSink, protocol: int) -> None:
        super().__init__(file, protocol)  # pyright: ignore[reportUnknownMemberType]
        self.holds_code = False
        self._usual: set[type] = set()

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - fixed by pickle
        kind = type(obj)
        if kind in self._usual:
            return NotImplemented
        if isinstance(obj, enum.EnumMeta) and not _found_by_name(obj):
            return _enum_reference(obj)
        _refuse(obj)
        if not issubclass(kind, (enum.EnumMeta, BaseException)):
            self._usual.add(kind)
        return NotImplemented

    def save_reduce(self, func: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        if getattr(func, "__name__", None) in _BY_VALUE:
            self.holds_code = True
        super().save_reduce(func, *args, **kwargs)  # pyright: ignore[reportUnknownMemberType]


def _enum_reference(kind: enum.EnumMeta) -> str:
    """Refer to an enum of `__main__` by name: dill 0.4.1 cannot load the ones it wrote by value."""
    if not _is_at_its_name(kind):
        raise UnserializableError(f"the enum {kind.__qualname__} is not found under its name")
    return str(kind.__qualname__)


def _dump_by_dill(obj: object, target: PickleSink) -> bool:
    pickler = _DillPickler(target, PROTOCOL)
    try:
        pickler.dump(obj)
    except (CheckpointError, MemoryError, UnserializableError):
        raise
    except RecursionError:
        raise UnserializableError(NESTED) from None
    except Exception as error:
        raise UnserializableError(f"dill cannot write it ({type(error).__name__})") from error
    return bool(pickler.holds_code)
