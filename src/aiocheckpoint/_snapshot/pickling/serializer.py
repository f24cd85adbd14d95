"""Objects to pickle streams and back: the reach of dill at the speed of the C pickler.

A dump is tried with the C pickler first. It calls `reducer_override` for every class, function and
instance that is not of a plain built-in type. That gives up at the first object which only dill
can write. These are functions and classes that no name finds, and instances of types registered
with dill. Then dill writes the whole object, so that shared references stay shared.
"""

from __future__ import annotations

import pickle
import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.allowlist import AllowlistPickler, UnserializableError
from aiocheckpoint._snapshot.pickling.by_dill import (
    ByValuePickler,
    NamesUnpickler,
    is_written_otherwise,
    name_of,
)
from aiocheckpoint._snapshot.pickling.names import NO_MODULES
from aiocheckpoint._snapshot.pickling.refused_types import unloadable_reason
from aiocheckpoint._snapshot.pickling.unpicklers import load_restricted
from aiocheckpoint.errors import CheckpointError, UnpicklableFlowError

if TYPE_CHECKING:
    from typing import BinaryIO

    from _typeshed import ReadableBuffer as Buffer

    from aiocheckpoint._snapshot.pickling.listed import Allow
    from aiocheckpoint._snapshot.pickling.names import StepModules
    from aiocheckpoint._snapshot.target import PickleSink

__all__ = [
    "NESTED",
    "PROTOCOL",
    "NotSmallError",
    "UnserializableError",
    "dump",
    "dump_small",
    "load",
]

PROTOCOL = 5
"""Pickle protocol of all snapshots, the newest that Python 3.8 and later read (PEP 574)."""

NESTED = "it is nested too deeply"
"""The reason for objects that exhaust the recursion of the pickler."""

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
_CHANGED = tuple(f"{how} during iteration" for how in ("changed size", "keys changed", "mutated"))
"""Python's words about a container that another thread changes."""


class _NeedsDillError(Exception):
    """The C pickler met an object that dill would write in another way."""


def dump(
    obj: object,
    target: PickleSink,
    allow: Allow | None = None,
    *,
    modules: StepModules = NO_MODULES,
    met: dict[type, object] | None = None,
) -> bool:
    """Write `obj` as one pickle stream of protocol 5 that `load` and plain `dill.load` read.

    Args:
        obj: Any object that dill can write.
        target: Takes the stream, in pieces as they are made.
        allow: The globals that it may name, and no code then. By default all.
        modules: The modules of the steps, where names are looked for as well.
        met: Is filled with the first object of each type, but for plain built-in types.

    Returns:
        Whether the stream holds code: functions or classes by value, which only the same minor
        version of Python can load.

    Raises:
        UnserializableError: `obj` cannot be written.
        CheckpointError: `target` raised it.
    """
    met = {} if met is None else met
    if allow is not None:
        _dump_with(
            AllowlistPickler(target, PROTOCOL, allow, modules, met), obj, "it cannot be pickled"
        )
        return False
    try:
        _dump_with(_PlainPickler(target, PROTOCOL, modules, met), obj, "")
    except _NeedsDillError:
        pass  # What stopped it is no context of the errors of dill.
    else:
        return False
    target.rewind()
    met.clear()
    pickler = ByValuePickler(target, PROTOCOL, modules, met)
    _dump_with(pickler, obj, "dill cannot write it")
    return pickler.holds_code


def _dump_with(pickler: Any, obj: object, problem: str) -> None:  # noqa: ANN401 - no common base
    """Dump by one pickler. Without a problem in words, dill may write what stops the pickler."""
    try:
        pickler.dump(obj)
    except UnpicklableFlowError as error:
        if not problem:
            raise _NeedsDillError from error
        raise UnserializableError(error.problem) from error
    except (CheckpointError, MemoryError, UnserializableError):
        raise
    except RecursionError:
        raise UnserializableError(NESTED) from None
    except Exception as error:
        if not problem:
            raise _NeedsDillError from error
        raise UnserializableError(reason_of(error, problem)) from error


def reason_of(error: Exception, problem: str) -> str:
    """The reason why an object was not written, in words that hold no value of it."""
    if isinstance(error, RuntimeError) and str(error).endswith(_CHANGED):
        return (
            "its size changed while it was being stored: another thread or task still adds to it "
            "or removes from it. Wait for that in the step, or put a copy of it into the state"
        )
    return f"{problem} ({type(error).__name__})"


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


def load(file: BinaryIO, allow: Allow | None = None, *, modules: StepModules = NO_MODULES) -> Any:  # noqa: ANN401 - any object at all
    """Read the pickle stream at the beginning of a file.

    Args:
        file: The file, seekable.
        allow: The allowlist of globals. By default the stream may name all, and so run any code:
            never load untrusted bytes that way.
        modules: The modules of the steps, where names are looked for as well.

    Raises:
        MissingNameError: It names a function or class that is not found.
        RefusedGlobalError, RefusedChangeError, BeyondBoundsError, MalformedError: Under `allow`,
            see `load_restricted`.
        Exception: Loading raised it.
    """
    file.seek(0)
    if allow is None:
        return NamesUnpickler(file, modules).load()
    return load_restricted(file, allow, modules)


class _PlainPickler(pickle.Pickler):
    """The C pickler, for all objects that it writes as dill would."""

    def __init__(
        self, file: PickleSink, protocol: int, modules: StepModules, met: dict[type, object]
    ) -> None:
        super().__init__(file, protocol)
        self._modules, self._met = modules, met
        self._plain: set[type] = set()

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - fixed by pickle
        kind = type(obj)
        if kind in self._plain:
            return NotImplemented
        if issubclass(kind, (type, FunctionType)) or is_written_otherwise(kind):
            return self._by_name(obj)
        reason = unloadable_reason(obj)
        if reason is not None:
            raise UnserializableError(reason)
        self._met.setdefault(kind, obj)
        if not issubclass(kind, BaseException):
            self._plain.add(kind)
        return NotImplemented

    def _by_name(self, obj: object) -> Any:  # noqa: ANN401 - as reducer_override
        reference = name_of(obj, self._modules)
        if reference is None:
            raise _NeedsDillError
        return reference


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
