"""Checks of the arguments of flows and runs, made before any work begins."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, cast

from aiocheckpoint._concurrency.callables import UserFunction, is_async_callable
from aiocheckpoint._display.live.displays import PROGRESS_WORDS
from aiocheckpoint._model.checks import checked_count, checked_number
from aiocheckpoint._model.given_state import call_site
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._model.steps import name_of
from aiocheckpoint._snapshot.keys import check_reserved_keys
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError
from aiocheckpoint.handlers._registry import moves_snapshots

if TYPE_CHECKING:
    from aiocheckpoint._display.live.displays import ProgressWord
    from aiocheckpoint._model.given_state import CallSite
    from aiocheckpoint._model.request import Request
    from aiocheckpoint.events import Around, Hook

__all__ = [
    "Migrate",
    "caller_of",
    "check_keeps_snapshots",
    "check_request",
    "checked_around",
    "checked_backoff",
    "checked_conflict",
    "checked_hooks",
    "checked_migrate",
    "checked_progress",
    "checked_starts",
    "checked_threads",
    "checked_version",
]

_Place = int | str | None
Migrate = Callable[[StateT, int], _Place | Awaitable[_Place]]
"""Takes a run on: `migrate(state, version)`, sync or async, of the state and the version of the
flow that stored it. Changes the state, and may return the index or name of the step to go on at."""

_MIGRATE_FORM = (
    "migrate= is a function of the state and of the version that stored it, f(state, version)"
)

_AROUND_FORM = "around= has functions f(part, event) that give a context manager or None"


def check_request(request: Request, handler: object) -> None:
    """Check the parts of a request that need no stored run.

    Raises:
        InvalidTypeError: The state, the update or the data is no dict.
        InvalidValueError: Two arguments exclude each other, a reserved key of the state or the
            update holds a value, or the handler stores dicts alone.
    """
    state = cast("object", request.state)
    if state is not None and not isinstance(state, dict):
        raise InvalidTypeError(
            f"the state must be a dict, not a {type(state).__name__}. Or leave it out."
        )
    if request.data is not None:
        _check_data(request)
    if request.state:
        check_reserved_keys(request.state, "the state")
    if request.once:
        _check_once(request, handler)
    if request.is_answer:
        _check_answer(request, handler)


def _check_data(request: Request) -> None:
    data = cast("object", request.data)
    if not isinstance(data, dict):
        raise InvalidTypeError(
            f"data= is a dict, which is `data` for the steps, not a {type(data).__name__}."
        )
    if data is request.state:
        raise InvalidValueError(
            "data= is the same dict as the state, and the state alone is stored. Give two dicts."
        )


def _check_once(request: Request, handler: object) -> None:
    if request.checkpoint is not None:
        raise InvalidValueError(
            "once=True gives the state of a run that finished, and checkpoint= runs it again "
            "from a step: choose one of the two."
        )
    check_keeps_snapshots(handler, "once=True needs a handler that records whether a run finished")


def _check_answer(request: Request, handler: object) -> None:
    update = cast("object", request.update)
    if update is not None and not isinstance(update, dict):
        raise InvalidTypeError(
            f"update= is a dict that is put into the stored state, not a {type(update).__name__}."
        )
    check_reserved_keys(request.update or {}, "update=")
    _check_pause_number(request.answers)
    name = "update=" if update is not None else "answers="
    if request.state is not None or request.checkpoint is not None:
        raise InvalidValueError(
            f"{name} resumes a paused run from its stored state, at the step that paused it: "
            "leave out the state and checkpoint=."
        )
    check_keeps_snapshots(handler, f"{name} needs a handler that records whether a run is paused")


def _check_pause_number(answers: object) -> None:
    if answers is None:
        return
    if isinstance(answers, bool) or not isinstance(answers, int):
        raise InvalidTypeError(
            "answers= is the number of a pause, as header().pause_number has it, not a "
            f"{type(answers).__name__}."
        )
    if answers < 0:
        raise InvalidValueError(f"answers={answers}: pauses are numbered from 1.")


def check_keeps_snapshots(handler: object, need: str) -> None:
    """Refuse a user's own handler of dicts, which stores no headers.

    Args:
        handler: The handler.
        need: What needs a header, for the message.

    Raises:
        InvalidValueError: The handler is such a class.
    """
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


def checked_around(around: object) -> tuple[Around, ...]:
    """Give `around` back as a tuple if it is several functions that can give context managers.

    Raises:
        InvalidTypeError: It is no such iterable. Or a function is a coroutine function or a
            generator function, whose result is no context manager, or does not take two arguments.
    """
    if not isinstance(around, Iterable):
        raise InvalidTypeError(
            "around= is a list of functions of a part and an event, each of which gives a context "
            "manager or None."
        )
    found = tuple(cast("Iterable[object]", around))
    for function in found:
        if not callable(function):
            raise InvalidTypeError(f"{_AROUND_FORM}, not {function!r}.")
        _check_gives_manager(function)
        is_manager = hasattr(type(function), "__exit__") or hasattr(type(function), "__aexit__")
        hint = " (give the function itself, not what it returns)" if is_manager else ""
        _check_takes_two(function, f"{_AROUND_FORM}{hint}")
    return cast("tuple[Around, ...]", found)


def _check_gives_manager(function: object) -> None:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if inspect.isgeneratorfunction(function):
        kind, remedy = "a generator function", "Decorate it with contextlib.contextmanager."
    elif inspect.isasyncgenfunction(function):
        kind = "an async generator function"
        remedy = "Decorate it with contextlib.asynccontextmanager."
    elif inspect.iscoroutinefunction(function):
        kind, remedy = "a coroutine function", "Write it with def, and await in the manager."
    else:
        return
    raise InvalidTypeError(f"{name} of around= is {kind}, and gives no context manager. {remedy}")


def checked_conflict(conflict: object, handler: object) -> Literal["warn", "raise"]:
    """Give `conflict` back if it is "warn" or "raise", and the handler can record digests."""
    if conflict == "raise":
        check_keeps_snapshots(handler, 'conflict="raise" needs a handler that records digests')
        return "raise"
    if conflict == "warn":
        return "warn"
    if isinstance(conflict, str):
        raise InvalidValueError(f'conflict= is "warn" or "raise", not {conflict!r}.')
    raise InvalidTypeError(f'conflict= is "warn" or "raise", not a {type(conflict).__name__}.')


def caller_of(state: object, run_id: str | None) -> CallSite | None:
    """The caller's line, for the warning of a state that is ignored. None for runs with an id."""
    return call_site() if state is not None and run_id is None else None


def checked_threads(threads: object) -> int:
    """Give `threads` back if it is a number of threads from 1 on."""
    return checked_count("threads=", threads, "a number of threads")


def checked_starts(starts: object) -> int | None:
    """Give `starts` back if it is a number of starts from 1 on, or None."""
    if starts is None:
        return None
    meaning = "the most starts of a run at one step, or None"
    too_small = "a run has at least 1 start at a step. starts=None sets no end"
    return checked_count("starts=", starts, meaning, too_small=too_small)


def checked_backoff(backoff: object) -> float:
    """Give `backoff` back if it is a finite number of seconds from 0 on."""
    seconds = checked_number("backoff=", backoff, "a number of seconds")
    if not 0 <= seconds <= sys.float_info.max:
        raise InvalidValueError(
            f"backoff={backoff!r}: it is the number of seconds, at least 0, after which a run that "
            "failed is due again."
        )
    return float(seconds)


def checked_progress(progress: object) -> ProgressWord | None:
    """Give `progress` back if it is the word for a display, or None."""
    if progress is None:
        return None
    *most, last = (f'"{word}"' for word in PROGRESS_WORDS)
    words = f"{', '.join(most)} or {last}"
    if not isinstance(progress, str):
        hint = {True: ' True is "auto".', False: ' False is "none".'}
        meant = hint[progress] if isinstance(progress, bool) else ""
        raise InvalidTypeError(f"progress= is {words}, not a {type(progress).__name__}.{meant}")
    for word in PROGRESS_WORDS:
        if word == progress:
            return word
    raise InvalidValueError(f"progress= is {words}, not {progress!r}.")


def checked_version(version: object, handler: object) -> int:
    """Give the version of a flow, 0 for None.

    Raises:
        InvalidTypeError: It is no whole number.
        InvalidValueError: It is negative, or the handler stores dicts alone.
    """
    if version is None:
        return 0
    if isinstance(version, bool) or not isinstance(version, int):
        raise InvalidTypeError(
            "version= is the number of a release of the flow's steps, such as 3, not a "
            f"{type(version).__name__}."
        )
    if version < 0:
        raise InvalidValueError(f"version={version}: releases of a flow are numbered from 0 on.")
    check_keeps_snapshots(handler, "version= needs a handler that records it")
    return version


def checked_migrate(migrate: object, version: int | None) -> UserFunction | None:
    """Make the function that takes runs of older versions on callable for the engine.

    Raises:
        InvalidTypeError: It is no function of two arguments, or a generator function.
        InvalidValueError: No version is older than that of the flow.
    """
    if migrate is None:
        return None
    if not callable(migrate):
        raise InvalidTypeError(f"{_MIGRATE_FORM}, not a {type(migrate).__name__}.")
    if not version:
        raise InvalidValueError(
            "migrate= takes runs of older versions on, and the flow has no version= from 1 on. "
            "Runs stored without one have version 0: give the flow version=1."
        )
    _check_migrate_call(migrate)
    return UserFunction(migrate, takes_data=False, on_loop=is_async_callable(migrate))


def _check_migrate_call(migrate: Callable[..., Any]) -> None:
    if inspect.isgeneratorfunction(migrate) or inspect.isasyncgenfunction(migrate):
        raise InvalidTypeError(
            f"migrate={name_of(migrate)} is a generator function, so calling it would run nothing: "
            "take the `yield` out of it."
        )
    _check_takes_two(migrate, _MIGRATE_FORM)


def _check_takes_two(function: Callable[..., Any], form: str) -> None:
    """Refuse a function that cannot be called with two arguments.

    Raises:
        InvalidTypeError: It cannot.
    """
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return  # Some built-in functions have no signature.
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise InvalidTypeError(f"{form}, and {name_of(function)} takes {signature}.") from error
