"""Loads values of types that this process has not stored before, to find the ones that do not load.

A class may be written well and not load again, as a wrapper that forwards all attributes. The first
value of a type is loaded back before its snapshot counts. Later values of the type cost nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from weakref import ref

from aiocheckpoint._snapshot.pickling.diagnosis import find_unserializable
from aiocheckpoint._snapshot.pickling.serializer import UnserializableError, dump, load
from aiocheckpoint._snapshot.target import MemoryTarget

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

    from aiocheckpoint._snapshot.pickling.listed import Allow
    from aiocheckpoint._snapshot.pickling.names import StepModules

__all__ = ["find_unloadable"]

_MOST_BYTES = 1 << 24
"""Larger values are not loaded back. `verify=True` loads whole snapshots of any size."""


class _KnownTypes:
    """Types whose first value was loaded back, held weakly.

    By their ids, since types of an odd metaclass may equal others.
    """

    def __init__(self) -> None:
        self._found: dict[int, tuple[ref[type], ref[object] | None]] = {}

    def cover(self, value: object) -> bool:
        """Whether values of this type, or this one, are not loaded back."""
        kind, left_out = self._found.get(id(type(value)), (None, None))
        if kind is None or kind() is not type(value):
            return False
        return left_out is None or left_out() is value

    def add(self, kind: type, left_out: ref[object] | None = None) -> None:
        """Add a type, or one value of it alone."""
        number = id(kind)
        self._found[number] = ref(kind, lambda _: self._found.pop(number, None)), left_out

    def leave_out(self, value: object) -> None:
        """Add this value alone, if it can be held weakly: the next of its type may be smaller."""
        with contextlib.suppress(TypeError):
            self.add(type(value), ref(value))


_KNOWN: dict[Allow | None, _KnownTypes] = {}
"""The known types, by the allowlist under which they were loaded."""


class _LeftOutError(Exception):
    """A value takes more bytes than are loaded back, or a copy of it might free what it owns."""


class _BoundedTarget(MemoryTarget):
    def write(self, chunk: Buffer, /) -> int:
        if self.tell() + memoryview(chunk).nbytes > _MOST_BYTES:
            raise _LeftOutError
        return super().write(chunk)


def find_unloadable(
    state: object, met: dict[type, object], allow: Allow | None, modules: StepModules
) -> tuple[tuple[str, str], ...]:
    """Load the first value of each new type alone, and find what does not load.

    Args:
        state: The whole state.
        met: The first value of each type in it.
        allow: The globals that a dump may name. By default all.
        modules: The modules of the steps.

    Returns:
        Pairs of a path and a reason, as `find_unserializable` gives them. Empty if all load.
    """
    if not met:
        return ()
    known = _KNOWN[allow] if allow in _KNOWN else _KNOWN.setdefault(allow, _KnownTypes())
    for kind, value in met.items():
        if known.cover(value) or _frees(kind):
            continue
        inside = dict[type, object]()
        try:
            _load_back(value, allow, modules, inside)
        except (KeyboardInterrupt, MemoryError):
            raise
        except _LeftOutError:
            known.leave_out(value)
            continue
        except BaseException as error:
            # A part of a circle may load within the whole alone.
            offenders = find_unserializable(state, allow, modules, load_back=True)
            if offenders:
                return offenders
            if not isinstance(error, Exception):
                raise  # The user's own code has not raised it, but a signal has.
            inside.clear()
        for one in (kind, *inside):
            known.add(one)
    return ()


def _load_back(
    value: object, allow: Allow | None, modules: StepModules, met: dict[type, object]
) -> None:
    """Load a value from a dump of its own.

    Raises:
        _LeftOutError: It is too large, or is or holds an object that has `__del__`.
        BaseException: The user's own code raised it.
    """
    memory = _BoundedTarget()
    try:
        dump(value, memory, allow, modules=modules, met=met)
    except UnserializableError as error:
        raise _LeftOutError from error  # The whole was dumped.
    if any(map(_frees, met)):
        raise _LeftOutError
    load(memory, allow, modules=modules)


def _frees(kind: type) -> bool:
    """Whether the end of a copy may free what the value still uses, as a file or a directory."""
    return any("__del__" in vars(base) for base in kind.__mro__)
