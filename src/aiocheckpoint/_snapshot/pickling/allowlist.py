"""Writes streams under the allowlist `allow=` of globals that they may name.

The writer refuses the same globals as the reader, so that a run fails at once instead of at its
resume. dill is not used. Its streams name functions of dill, and these can run any code.
"""

from __future__ import annotations

import copyreg
import enum
import pickle
import types
from typing import TYPE_CHECKING, Any

from aiocheckpoint._snapshot.pickling.listed import ENUM_CALLS, Allow, is_changeable
from aiocheckpoint._snapshot.pickling.names import refer
from aiocheckpoint._snapshot.pickling.refused_types import unloadable_reason

if TYPE_CHECKING:
    from aiocheckpoint._snapshot.pickling.names import StepModules
    from aiocheckpoint._snapshot.target import PickleSink

__all__ = ["AllowlistPickler", "UnserializableError"]

_SINGLETONS = (type(None), type(...), type(NotImplemented))
"""Types of singletons. Pickle writes them as `type(singleton)`."""
_NUMBERED: dict[tuple[str, str], int] = vars(copyreg)["_extension_registry"]
"""Globals that `copyreg.add_extension` gave numbers, for all of the process."""


class UnserializableError(Exception):
    """An object, or a part of it, cannot be dumped. The message never holds its value."""


class AllowlistPickler(pickle.Pickler):
    """The C pickler, refusing each global that is not listed."""

    def __init__(
        self,
        file: PickleSink,
        protocol: int,
        allow: Allow,
        modules: StepModules,
        met: dict[type, object],
    ) -> None:
        super().__init__(file, protocol)
        self._protocol = protocol
        self._allow = allow
        self._modules, self._met = modules, met
        self._resolver: object = None

    def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - fixed by pickle
        kind = type(obj)
        if kind is types.FunctionType or issubclass(kind, type):
            if any(obj is one for one in _SINGLETONS):  # a metaclass may forbid hashing
                return NotImplemented
            return self._refer(obj)
        reason = unloadable_reason(obj)
        if reason is not None:
            raise UnserializableError(reason)
        self._met.setdefault(kind, obj)
        reduce = copyreg.dispatch_table.get(kind)
        reduced = obj.__reduce_ex__(self._protocol) if reduce is None else reduce(obj)
        if isinstance(reduced, str):
            self._check(obj, reduced)
        elif isinstance(obj, enum.Enum) and any(
            reduced[0] is one for one, _ in ENUM_CALLS.values()
        ):
            return kind, (obj.value,)  # As later releases of Python reduce it.
        return reduced

    def _refer(self, obj: Any) -> Any:  # noqa: ANN401 - as reducer_override
        if obj is self._resolver:  # It is called with a name that was checked.
            self._resolver = None
            return NotImplemented
        reference = refer(obj, self._modules)
        if isinstance(reference, tuple):
            self._resolver, (name,) = reference
            self._check_name(obj, name)
            return reference
        self._check(obj, obj.__qualname__)
        return NotImplemented

    def _check(self, obj: object, name: str) -> None:
        module = pickle.whichmodule(obj, name)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
        self._check_name(obj, f"{module}:{name}")
        if (module, name) in _NUMBERED:
            raise UnserializableError(f'"{module}:{name}" has a number of copyreg.add_extension')

    def _check_name(self, obj: object, name: str) -> None:
        if name not in self._allow:
            raise UnserializableError(f'"{name}" is not among the globals of allow=')
        if is_changeable(obj):
            raise UnserializableError(f'"{name}" is a container or module, not a class')
