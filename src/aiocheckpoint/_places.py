"""From what a user passes as `handler` to the places of runs."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._slots import DictPlace, DictSlot, HandlerSlot, Slot
from aiocheckpoint._steps import Part, is_async_callable
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError, UnknownHandlerError
from aiocheckpoint.handlers import LocalStateHandler, StateHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._calls import Calls

__all__ = ["make_handler", "slot_maker"]

_BY_NAME: dict[str, type[StateHandler]] = {"local": LocalStateHandler}


def make_handler(state_path: Any, handler: Any, fsync: bool | None) -> Any:  # noqa: ANN401, FBT001
    """Make the handler that `CheckpointFlow` was asked for.

    Raises:
        UnknownHandlerError: No handler has this name.
        InvalidTypeError: `handler` is no name, class or object with `read` and `write`.
        InvalidValueError: `fsync` was given for a handler that is not "local".
    """
    if isinstance(handler, str):
        if handler not in _BY_NAME:
            raise UnknownHandlerError(handler, tuple(_BY_NAME))
        handler = _BY_NAME[handler]
    if fsync is not None and handler is not LocalStateHandler:
        raise InvalidValueError(
            "fsync= belongs to the handler 'local'; set it on your own handler."
        )
    options = {} if fsync is None else {"fsync": fsync}
    made = handler(state_path, **options) if isinstance(handler, type) else handler
    missing = [name for name in ("read", "write") if not callable(getattr(made, name, None))]
    if missing:
        raise InvalidTypeError(
            f"handler must be a name, a class taking the path, or an object, with read() and "
            f"write(state); {_kind(handler)} lacks {' and '.join(missing)}."
        )
    return made


def slot_maker(handler: Any, state_path: Any) -> Callable[[str | None, Calls], Slot]:  # noqa: ANN401
    """Give the function that makes the slot of a run from its id."""
    if isinstance(handler, StateHandler) and not _has_own_dicts(handler):
        return partial(HandlerSlot, handler)
    location = f"{type(handler).__qualname__}({os.fspath(state_path)!r})"
    return partial(DictSlot, DictPlace(location, _part(handler.read), _part(handler.write)))


def _has_own_dicts(handler: StateHandler) -> bool:
    """Whether a subclass, as one of gumly's handler would, overrides `read` or `write`."""
    kind = type(handler)
    return kind.read is not StateHandler.read or kind.write is not StateHandler.write


def _part(method: Callable[..., Any]) -> Part:
    return Part(method, takes_data=False, on_loop=is_async_callable(method), stores=True)


def _kind(handler: object) -> str:
    return handler.__qualname__ if isinstance(handler, type) else f"a {type(handler).__qualname__}"
