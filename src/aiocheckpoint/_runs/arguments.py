"""Checks of the arguments of flows and runs, made before any work begins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from aiocheckpoint._model.checks import checked_count
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers._registry import moves_snapshots

if TYPE_CHECKING:
    from aiocheckpoint._model.request import Request
    from aiocheckpoint.events import Hook

__all__ = ["check_request", "checked_hooks", "checked_threads"]


def check_request(request: Request, handler: object) -> None:
    """Check the parts of a request that need no stored run.

    Raises:
        InvalidTypeError: The state or the update is no dict.
        InvalidValueError: Two arguments exclude each other, or the handler stores dicts alone.
    """
    state = cast("object", request.state)
    if state is not None and not isinstance(state, dict):
        raise InvalidTypeError(
            f"the state must be a dict, not a {type(state).__name__}. Or leave it out."
        )
    if request.once:
        _check_once(request, handler)
    if request.update is not None:
        _check_update(request, handler)


def _check_once(request: Request, handler: object) -> None:
    if request.checkpoint is not None:
        raise InvalidValueError(
            "once=True gives the state of a run that finished, and checkpoint= runs it again "
            "from a step: choose one of the two."
        )
    _check_keeps_snapshots(handler, "once=True needs a handler that records whether a run finished")


def _check_update(request: Request, handler: object) -> None:
    update: object = request.update
    if not isinstance(update, dict):
        raise InvalidTypeError(
            f"update= is a dict that is put into the stored state, not a {type(update).__name__}."
        )
    if request.state is not None or request.checkpoint is not None:
        raise InvalidValueError(
            "update= resumes a paused run from its stored state, at the step that paused it: "
            "leave out the state and checkpoint=."
        )
    _check_keeps_snapshots(handler, "update= needs a handler that records whether a run is paused")


def _check_keeps_snapshots(handler: object, need: str) -> None:
    if not moves_snapshots(handler):
        kind = type(handler).__qualname__
        raise InvalidValueError(
            f"{need}, and {kind} keeps dicts alone. Use the handler 'local' or 'sqlite'."
        )


def checked_hooks(hooks: object) -> tuple[Hook, ...]:
    """Give hooks back as a tuple if they are several callables."""
    if not isinstance(hooks, Iterable):
        raise InvalidTypeError("hooks= is a list of functions of one event.")
    found = tuple(cast("Iterable[object]", hooks))
    for hook in found:
        if not callable(hook):
            raise InvalidTypeError(f"a hook is a function of one event, not {hook!r}.")
    return cast("tuple[Hook, ...]", found)


def checked_threads(threads: object) -> int:
    """Give `threads` back if it is a number of threads from 1 on."""
    return checked_count("threads=", threads, "a number of threads")
