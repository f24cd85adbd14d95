"""Loads streams under `allow=`: vetted first, then by an unpickler that finds listed globals alone.

The C unpickler loads a stream that changes only objects which it has just made. Where this cannot
be told from the opcodes, Python's own unpickler looks at each object before it is changed. It takes
about ten times as long.
"""

from __future__ import annotations

import enum
import os
import pickle
import sys
import types
from typing import TYPE_CHECKING, Any, BinaryIO

from aiocheckpoint._snapshot.pickling.listed import (
    CALLED_ONLY,
    ENUM_CALLS,
    RefusedChangeError,
    RefusedGlobalError,
    is_changeable,
)
from aiocheckpoint._snapshot.pickling.names import NO_MODULES, RESOLVE, find_name, resolver
from aiocheckpoint._snapshot.pickling.ownership import (
    UNSHARED,
    changes_itself,
    has_own_method,
    makes_new_instances,
)
from aiocheckpoint._snapshot.pickling.vetting import vet

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._snapshot.pickling.listed import Allow
    from aiocheckpoint._snapshot.pickling.names import StepModules
    from aiocheckpoint._snapshot.pickling.vetting import Maker

__all__ = ["WatchingUnpickler", "load_restricted"]

_PythonUnpickler: Any = vars(pickle)["_Unpickler"]
_NEVER_CHANGED = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.CodeType,
    types.MappingProxyType,
    property,
    enum.Enum,
)


def load_restricted(file: BinaryIO, allow: Allow, modules: StepModules = NO_MODULES) -> Any:  # noqa: ANN401 - any object at all
    """Read the pickle stream at the beginning of a file.

    Raises:
        MissingNameError: A listed function or class is not found.
        RefusedGlobalError: It names a global that is not listed.
        RefusedChangeError: It changes a listed object, or one that existed before.
        BeyondBoundsError: It is nested too deeply, or takes too long.
        MalformedError: It is no whole stream.
        Exception: The unpickler raised it, or the code of a listed class.
    """
    makers = vet(file, file.seek(0, os.SEEK_END), allow)
    file.seek(0)
    unpickler = _CheckedUnpickler(file, allow, modules)
    if not all(_is_harmless(maker, unpickler) for maker in makers):
        return WatchingUnpickler(file, allow, modules).load()
    return unpickler.load()


def _is_harmless(maker: Maker, unpickler: _CheckedUnpickler) -> bool:
    if maker.name is None or maker.name in CALLED_ONLY:
        return False
    # Finding it by the unpickler's way, as a name of many parts depends on the protocol.
    found = unpickler.find_class(*maker.name.split(":", 1))
    return makes_new_instances(found, called=maker.called, slots=maker.slots)


def _found(
    allow: Allow, modules: StepModules, module: str, name: str, find: Callable[[str, str], Any]
) -> Any:  # noqa: ANN401 - any object
    full = f"{module}:{name}"
    if full == RESOLVE:
        return resolver(lambda module, name: _found(allow, modules, module, name, find))
    if full not in allow:
        if full in ENUM_CALLS:
            return ENUM_CALLS[full][1]
        raise RefusedGlobalError(full)
    found = find_name(modules, module, name, find)
    if is_changeable(found):
        raise RefusedChangeError(f"{full}, a {type(found).__name__}")
    return found


class _CheckedUnpickler(pickle.Unpickler):
    """The C unpickler, refusing each global that is not listed."""

    def __init__(self, file: BinaryIO, allow: Allow, modules: StepModules) -> None:
        # `fix_imports` would import other names than the checked ones.
        super().__init__(file, fix_imports=False)
        self._allow, self._modules = allow, modules

    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401 - fixed by pickle
        return _found(self._allow, self._modules, module, name, super().find_class)


class WatchingUnpickler(_PythonUnpickler):  # type: ignore[misc]
    """Python's unpickler, refusing as well to change any object that others hold.

    An object counts as new if nothing but the stack refers to it right after its call.
    """

    def __init__(self, file: BinaryIO, allow: Allow, modules: StepModules) -> None:
        super().__init__(file, fix_imports=False)
        self._allow, self._modules = allow, modules
        self._others: dict[int, object] = {}

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - fixed by pickle
        found = _found(self._allow, self._modules, module, name, super().find_class)
        self._others[id(found)] = found
        return found

    def note_made(self) -> None:
        """Note the object on top of the stack, unless it is new."""
        # The stack is the one holder.
        if sys.getrefcount(self.stack[-1]) > UNSHARED:
            self._others[id(self.stack[-1])] = self.stack[-1]

    def check_change(self, target: object) -> None:
        """Raise RefusedChangeError where an object is not the stream's own."""
        if id(target) in self._others or isinstance(target, _NEVER_CHANGED):
            raise RefusedChangeError(f"a {type(target).__name__} that other code holds")

    def check_put(self, target: object, methods: tuple[str, ...]) -> None:
        """Check the object that gets items, and the methods that put them there."""
        self.check_change(target)
        if not all(has_own_method(target, name) for name in methods):
            raise RefusedChangeError(f"the items of a {type(target).__name__}")

    def check_build(self) -> None:
        """Check the object and the state of a BUILD opcode."""
        target, state = self.stack[-2:]
        self.check_change(target)
        if not changes_itself(target, state):
            raise RefusedChangeError(f"the attributes of a {type(target).__name__}")


def _checking(code: bytes, check: Callable[[Any], None]) -> Callable[[Any], None]:
    """The action of an opcode behind a check."""
    action = _PythonUnpickler.dispatch[code[0]]

    def checked(unpickler: Any) -> None:  # noqa: ANN401
        check(unpickler)
        action(unpickler)

    return checked


def _noting(code: bytes) -> Callable[[Any], None]:
    """The action of an opcode that makes an object."""
    action = _PythonUnpickler.dispatch[code[0]]

    def noted(unpickler: Any) -> None:  # noqa: ANN401
        action(unpickler)
        unpickler.note_made()

    return noted


def _check_below(depth: int, *methods: str) -> Callable[[Any], None]:
    def check(unpickler: Any) -> None:  # noqa: ANN401
        unpickler.check_put(unpickler.stack[-depth], methods)

    return check


def _check_marked(*methods: str) -> Callable[[Any], None]:
    def check(unpickler: Any) -> None:  # noqa: ANN401
        unpickler.check_put(unpickler.metastack[-1][-1], methods)

    return check


WatchingUnpickler.dispatch = {
    **_PythonUnpickler.dispatch,
    **{
        code[0]: _noting(code)
        for code in (pickle.REDUCE, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.OBJ, pickle.INST)
    },
    pickle.APPEND[0]: _checking(pickle.APPEND, _check_below(2, "append")),
    pickle.APPENDS[0]: _checking(pickle.APPENDS, _check_marked("extend", "append")),
    pickle.ADDITEMS[0]: _checking(pickle.ADDITEMS, _check_marked("update", "add")),
    pickle.SETITEM[0]: _checking(pickle.SETITEM, _check_below(3)),
    pickle.SETITEMS[0]: _checking(pickle.SETITEMS, _check_marked()),
    pickle.BUILD[0]: _checking(pickle.BUILD, WatchingUnpickler.check_build),
}
