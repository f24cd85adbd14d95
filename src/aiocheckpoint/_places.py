"""From what a user passes as `handler` to the places of runs."""

from __future__ import annotations

import inspect
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from aiocheckpoint._slots import DictPlace, DictSlot, HandlerSlot, Slot
from aiocheckpoint._steps import Part, is_async_callable
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError, UnknownHandlerError
from aiocheckpoint.handlers import LocalStateHandler, SnapshotOptions, StateHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._calls import Calls
    from aiocheckpoint.handlers._kept import Keep

__all__ = ["HandlerOptions", "make_handler", "slot_maker"]

_BY_NAME: dict[str, type[StateHandler]] = {"local": LocalStateHandler}


class HandlerOptions(SnapshotOptions, total=False):
    """What `CheckpointFlow` passes on to the handler that it makes.

    Attributes:
        fsync: Whether each snapshot waits for the disk (default True).
        keep: How many snapshots of a run there are, the newest included (default 1), or "all".
    """

    fsync: bool
    keep: Keep


_OPTIONS = ("fsync", "keep", *SnapshotOptions.__annotations__)


def make_handler(state_path: Any, handler: Any, flow: str, options: HandlerOptions) -> Any:  # noqa: ANN401
    """Make the handler that `CheckpointFlow` was asked for.

    Raises:
        UnknownHandlerError: No handler has this name.
        InvalidTypeError: `handler` is no name, class or object with `read` and `write`.
        InvalidValueError: An option does not belong to the handler, or the handler signs for
            another flow.
    """
    if isinstance(handler, str):
        if handler not in _BY_NAME:
            raise UnknownHandlerError(handler, tuple(_BY_NAME))
        handler = _BY_NAME[handler]
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


def _made(handler: type, state_path: Any, flow: str, options: HandlerOptions) -> Any:  # noqa: ANN401
    known = _parameters(handler)
    for option in options:
        if option not in known:
            raise InvalidValueError(
                f"{option}= is no option of {_kind(handler)}; the handler 'local' takes "
                f"{', '.join(f'{name}=' for name in _OPTIONS)}."
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
