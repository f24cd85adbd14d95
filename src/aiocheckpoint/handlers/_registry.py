"""From what a user passes as `handler` to the places of runs."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from aiocheckpoint._concurrency.callables import UserFunction, is_async_callable
from aiocheckpoint.errors import (
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
    UnknownHandlerError,
)
from aiocheckpoint.handlers import SnapshotOptions, StateHandler
from aiocheckpoint.handlers._dicts import DictBackend, DictRunStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint.handlers._retention import Keep
    from aiocheckpoint.handlers._run_store import RunStore

__all__ = ["HandlerOptions", "make_handler", "moves_snapshots", "run_store_maker"]


class _Entry:
    """Where a handler is found, by name or scheme.

    Args:
        module: Its module, imported only when it is asked for.
        name: The name of its class.
        extra: The optional dependencies that it needs, None for those that come with Python.
    """

    def __init__(self, module: str, name: str, extra: str | None = None) -> None:
        self.module, self.name, self.extra = module, name, extra


_BY_NAME = {
    "local": _Entry("aiocheckpoint.handlers.local", "LocalStateHandler"),
    "sqlite": _Entry("aiocheckpoint.handlers.sqlite", "SqliteStateHandler"),
}
_SCHEME = r"([A-Za-z][A-Za-z0-9+.-]*)://"


class HandlerOptions(SnapshotOptions, total=False):
    """What `CheckpointFlow` passes on to the handler that it makes.

    Attributes:
        fsync: Whether each snapshot waits for the disk (default True).
        keep: How many snapshots of a run there are, the newest included (default 1), or "all".
        lease: Of the handler "sqlite": seconds after which an owner of runs that is suspended, or
            on another machine, is gone (default 30).
    """

    fsync: bool
    keep: Keep
    lease: float


_OPTIONS = ("lease", "fsync", "keep", *SnapshotOptions.__annotations__)


def make_handler(state_path: Any, handler: Any, flow: str, options: HandlerOptions) -> Any:  # noqa: ANN401
    """Make the handler that `CheckpointFlow` was asked for.

    Raises:
        UnknownHandlerError: No handler has this name, or the scheme of this path.
        MissingExtraError: The handler needs something that is not installed.
        InvalidTypeError: `handler` is no name, class or object with `read` and `write`.
        InvalidValueError: An option does not belong to the handler, or the handler signs for
            another flow.
    """
    if isinstance(handler, str):
        has_scheme = isinstance(state_path, str) and "://" in state_path
        scheme = re.match(_SCHEME, state_path) if has_scheme else None
        handler = _found(handler if scheme is None else scheme[1])
    if isinstance(handler, type):
        made = _made(handler, state_path, flow, options)
    else:
        made = handler
        _check_object(handler, flow, options)
    missing = [name for name in ("read", "write") if not callable(getattr(made, name, None))]
    if missing:
        raise InvalidTypeError(
            f"handler must be a name, a class taking the path, or an object, with read() and "
            f"write(state); {_kind(handler)} lacks {' and '.join(missing)}."
        )
    return made


def _found(name: str) -> type[StateHandler]:
    """Import the handler of a name or scheme."""
    entry = _BY_NAME.get(name)
    if entry is None:
        raise UnknownHandlerError(name, tuple(_BY_NAME))
    try:
        module = importlib.import_module(entry.module)
    except ImportError as error:
        missing = error.name or entry.module
        install = None if entry.extra is None else f"pip install 'aiocheckpoint[{entry.extra}]'"
        raise MissingExtraError(f"the state handler {name!r}", missing, install) from error
    handler: type[StateHandler] = getattr(module, entry.name)
    return handler


def _made(handler: type, state_path: Any, flow: str, options: HandlerOptions) -> Any:  # noqa: ANN401
    known = _parameters(handler)
    for option in options:
        if option not in known:
            raise InvalidValueError(
                f"{option}= is no option of {_kind(handler)}; the handler 'local' takes "
                f"{', '.join(f'{name}=' for name in _OPTIONS[1:])}, and 'sqlite' lease= as well."
            )
    named = {"flow": flow} if issubclass(handler, StateHandler) and "flow" in known else {}
    return handler(state_path, **named, **options)


def _parameters(handler: type) -> frozenset[str]:
    """Names of the keywords that a class takes."""
    try:
        parameters = inspect.signature(handler).parameters
    except ValueError:
        return frozenset()  # Some built-in classes tell no signature.
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return frozenset({*parameters, *(("flow", *_OPTIONS) if takes_any else ())})


def _check_object(handler: object, flow: str, options: HandlerOptions) -> None:
    if options:
        option = next(iter(options))
        raise InvalidValueError(
            f"{option}= belongs to the handler; set it where you make {_kind(handler)}."
        )
    if isinstance(handler, StateHandler) and handler.key_ids and handler.flow != flow:
        raise InvalidValueError(
            f"the handler signs for the flow {handler.flow!r}, and this one is {flow!r}: give both "
            f"one name, by {type(handler).__name__}(..., flow={flow!r})."
        )


def run_store_maker(handler: Any, state_path: Any) -> Callable[[str | None, Backend], RunStore]:  # noqa: ANN401
    """Give the function that makes the slot of a run from its id."""
    if moves_snapshots(handler):
        return cast("StateHandler", handler).run_store
    location = f"{type(handler).__qualname__}({os.fspath(state_path)!r})"
    return partial(DictRunStore, DictBackend(location, _part(handler.read), _part(handler.write)))


def moves_snapshots(handler: object) -> bool:
    """Whether a handler moves snapshots.

    A subclass that overrides `read` or `write`, as one of gumly's handler would, has dicts of its
    own instead.
    """
    if not isinstance(handler, StateHandler):
        return False
    kind = type(handler)
    return kind.read is StateHandler.read and kind.write is StateHandler.write


def _part(method: Callable[..., Any]) -> UserFunction:
    return UserFunction(method, takes_data=False, on_loop=is_async_callable(method), stores=True)


def _kind(handler: object) -> str:
    return handler.__qualname__ if isinstance(handler, type) else f"a {type(handler).__qualname__}"
