"""The handlers that are known by name: those of this library, and of installed distributions."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocheckpoint.errors import (
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
    UnknownHandlerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from importlib.metadata import EntryPoint

    from aiocheckpoint.handlers._base import StateHandler

__all__ = ["find_class", "is_one_handler"]

_GROUP = "aiocheckpoint.handlers"
"""The entry point group. The name of an entry point is the name, and the URL scheme, of a handler
class."""


class _BuiltIn(NamedTuple):
    """A handler of this library.

    Attributes:
        module: Its module, imported late.
        name: The name of its class.
        extra: The extra with its dependencies, None for a handler that needs only Python's own.
    """

    module: str
    name: str
    extra: str | None = None


_OBJECTS = _BuiltIn("aiocheckpoint.handlers.objects", "ObjectStateHandler", "objects")
_POSTGRES = _BuiltIn("aiocheckpoint.handlers.postgres", "PostgresStateHandler", "postgres")

# No entry points, because reading the metadata of all distributions takes 10 ms.
_BUILT_IN = {
    "local": _BuiltIn("aiocheckpoint.handlers.local", "LocalStateHandler"),
    "sqlite": _BuiltIn("aiocheckpoint.handlers.sqlite", "SqliteStateHandler"),
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "s3": _OBJECTS,
    "gs": _OBJECTS,
    "az": _OBJECTS,
}


def find_class(name: str, constructors: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Find the class of a name or scheme, or the callable that the program registered for it.

    Raises:
        UnknownHandlerError: No handler has this name.
        MissingExtraError: The handler needs a module that is not installed.
        InvalidTypeError, InvalidValueError: An installed handler is unsound.
    """
    if name in constructors:
        return constructors[name]
    built_in = _BUILT_IN.get(name)
    if built_in is not None:
        return _import_built_in(name, built_in)
    entries = list(_entry_points())
    for entry in entries:
        if entry.name == name:
            return _load(entry)
    known = dict.fromkeys((*_BUILT_IN, *constructors, *(entry.name for entry in entries)))
    raise UnknownHandlerError(name, tuple(known))


def is_one_handler(name: str, other: str, constructors: Mapping[str, Callable[..., Any]]) -> bool:
    """Tell whether two names are those of one handler.

    Handlers of this library are not imported for it, so that no extra needs to be installed.

    Raises:
        UnknownHandlerError: No handler has one of the names.
        MissingExtraError: One handler is the program's own, and the other needs a module that is
            not installed.
        InvalidTypeError, InvalidValueError: An installed handler is unsound.
    """
    names = {name, other}
    if names <= _BUILT_IN.keys() and not names & constructors.keys():
        return _BUILT_IN[name] is _BUILT_IN[other]
    return find_class(name, constructors) is find_class(other, constructors)


def _import_built_in(name: str, built_in: _BuiltIn) -> Callable[..., Any]:
    try:
        module = importlib.import_module(built_in.module)
    except ImportError as error:
        missing = error.name or built_in.module
        extra = built_in.extra
        install = None if extra is None else f"pip install 'aiocheckpoint[{extra}]'"
        raise MissingExtraError(f"the state handler {name!r}", missing, install) from error
    handler: type[StateHandler] = getattr(module, built_in.name)
    return handler


def _entry_points() -> Iterator[EntryPoint]:
    from importlib.metadata import entry_points  # noqa: PLC0415 - 10 ms, for other handlers alone

    yield from entry_points(group=_GROUP)


def _load(entry: EntryPoint) -> type:
    """Import the class of an entry point."""
    dist = entry.dist
    source = "" if dist is None else f" of the distribution {dist.name} {dist.version}"
    what = f"the state handler {entry.name!r}{source} ({entry.value})"
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:
        raise InvalidValueError(
            f"{what} cannot be imported: {type(error).__name__}: {error}. Install the modules that "
            "it needs, or another version of the distribution."
        ) from error
    if not isinstance(found, type) or not (hasattr(found, "read") and hasattr(found, "write")):
        raise InvalidTypeError(
            f"{what} is no class with read() and write(state). Install another version of the "
            "distribution."
        )
    return found
