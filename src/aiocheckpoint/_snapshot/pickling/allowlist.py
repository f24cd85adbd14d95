"""Pickling under the allowlist `allow=` of globals that a stream may name.

The writer refuses the same globals as the reader, so that a run fails at once instead of at its
resume. dill is not used. Its streams name functions of dill, and these can run any code.
"""

from __future__ import annotations

import copyreg
import os
import pickle
import re
import types
from typing import Any, BinaryIO

from aiocheckpoint._snapshot.pickling.opcodes import MalformedError, names_extension
from aiocheckpoint._snapshot.pickling.refused_types import unloadable_reason
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = [
    "Allow",
    "AllowlistPickler",
    "RefusedGlobalError",
    "UnserializableError",
    "checked_allow",
    "load_restricted",
]

Allow = frozenset[str]
"""Globals as "package.module:Name"."""

_NAME = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*"
_FORM = '"package.module:Name", as in allow=("datetime:datetime",)'

_SINGLETONS = (type(None), type(...), type(NotImplemented))
"""Types of singletons. Pickle writes them as `type(singleton)`."""
_NUMBERED: dict[tuple[str, str], int] = vars(copyreg)["_extension_registry"]
"""Globals that `copyreg.add_extension` gave numbers, for all of the process."""


class UnserializableError(Exception):
    """An object, or a part of it, cannot be dumped. The message never holds its value."""


class RefusedGlobalError(Exception):
    """A stream names a global that is not listed. The message is that name."""


class AllowlistPickler(pickle.Pickler):
    """The C pickler, refusing each global that is not listed."""

    def __init__(self, file: Any, protocol: int, allow: Allow) -> None:  # noqa: ANN401
        super().__init__(file, protocol)
        self._protocol = protocol
        self._allow = allow

    def reducer_override(self, obj: Any) -> Any:  # noqa: ANN401 - fixed by pickle
        kind = type(obj)
        if kind is types.FunctionType or issubclass(kind, type):
            if not any(obj is one for one in _SINGLETONS):  # a metaclass may forbid hashing
                self._check(obj, obj.__qualname__)
            return NotImplemented
        reason = unloadable_reason(obj)
        if reason is not None:
            raise UnserializableError(reason)
        reduce = copyreg.dispatch_table.get(kind)
        reduced = obj.__reduce_ex__(self._protocol) if reduce is None else reduce(obj)
        if isinstance(reduced, str):
            self._check(obj, reduced)
        return reduced

    def _check(self, obj: object, name: str) -> None:
        module = pickle.whichmodule(obj, name)  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
        if f"{module}:{name}" not in self._allow:
            raise UnserializableError(f'"{module}:{name}" is not among the globals of allow=')
        if (module, name) in _NUMBERED:
            raise UnserializableError(f'"{module}:{name}" has a number of copyreg.add_extension')


class _RestrictedUnpickler(pickle.Unpickler):
    """The C unpickler, refusing each global that is not listed."""

    def __init__(self, file: BinaryIO, allow: Allow) -> None:
        super().__init__(
            file, fix_imports=False
        )  # it would import other names than the checked ones
        self._allow = allow

    def find_class(self, module: str, name: str, /) -> Any:  # noqa: ANN401 - fixed by pickle
        if f"{module}:{name}" not in self._allow:
            raise RefusedGlobalError(f"{module}:{name}")
        return super().find_class(module, name)


def load_restricted(file: BinaryIO, allow: Allow) -> Any:  # noqa: ANN401 - any object at all
    """Read the pickle stream at the beginning of a file.

    Raises:
        RefusedGlobalError: It names a global that is not listed.
        Exception: The unpickler raised it, for bytes that are no pickle stream.
    """
    # copyreg caches the classes of numbers, and a cached one is loaded without find_class.
    if _NUMBERED and _names_extension(file):
        raise RefusedGlobalError("a number of copyreg.add_extension")
    file.seek(0)
    return _RestrictedUnpickler(file, allow).load()


def _names_extension(file: BinaryIO) -> bool:
    try:
        return names_extension(file, file.seek(0, os.SEEK_END))
    except MalformedError as error:
        # The unpickler may accept bytes that the walk does not, with a number behind them.
        raise pickle.UnpicklingError(f"it breaks off at byte {error.at}") from error


def checked_allow(allow: object) -> Allow:
    """Give the set of globals that `allow=` lists.

    Raises:
        InvalidTypeError: It is no list of strings.
        InvalidValueError: A string does not have the form "package.module:Name".
    """
    if not isinstance(allow, (list, tuple, set, frozenset)):
        raise InvalidTypeError(
            f"allow= is a list of globals, each {_FORM}, not a {type(allow).__name__}; "
            "allow=() is for plain data alone, and without allow= everything is loaded."
        )
    for name in allow:
        if not isinstance(name, str):
            raise InvalidTypeError(
                f"allow= lists texts of the form {_FORM}, and a {type(name).__name__} is none."
            )
        if not re.fullmatch(_NAME, name):
            raise InvalidValueError(f"allow= lists {name!r}, which is not of the form {_FORM}.")
    return frozenset(allow)
