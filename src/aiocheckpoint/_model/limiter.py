"""The limiter of a step: the check of `limiter=`, and the context manager for one attempt."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from aiocheckpoint._model.state_type import StateT
from aiocheckpoint.errors import FlowDefinitionError, InvalidTypeError

__all__ = ["Limiter", "LimiterFunction", "checked_limiter", "checked_manager", "is_manager"]

LimiterFunction = Callable[[StateT], AbstractAsyncContextManager[Any]]
"""A function of the state that gives an async context manager."""
Limiter = AbstractAsyncContextManager[Any] | LimiterFunction[StateT]
"""An async context manager, such as `anyio.CapacityLimiter`, or a function that gives one."""

_FORM = (
    "limiter= is an async context manager, such as anyio.CapacityLimiter(10), or a function of the "
    "state that gives one"
)


def is_manager(limiter: object) -> bool:
    """Whether it is an async context manager."""
    kind = type(limiter)
    return hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__")


def checked_limiter(limiter: object) -> Limiter[Any] | None:
    """Give `limiter` back if it is None, an async context manager, or a function of one.

    Raises:
        InvalidTypeError: It is neither, or can be entered only once, or is a class, or a function
            that gives something else, or takes other arguments than a state.
    """
    if limiter is None:
        return None
    if is_manager(limiter):
        # `gen` is an undocumented attribute of contextlib, and nothing else shows that the manager
        # can be entered only once. Without it, its second use fails.
        if inspect.isasyncgen(getattr(limiter, "gen", None)):
            raise InvalidTypeError(
                f"{_FORM}. This one was made by a function under contextlib.asynccontextmanager, "
                "and can be entered only once. Give the function itself, with the state as its "
                "parameter."
            )
        return cast("Limiter[Any]", limiter)
    kind = type(limiter).__name__
    if hasattr(type(limiter), "__enter__"):
        raise InvalidTypeError(
            f"{_FORM}. This {kind} is a sync one, and would block the event loop while it waits. "
            "Use anyio.CapacityLimiter or asyncio.Semaphore."
        )
    if isinstance(limiter, type):
        raise InvalidTypeError(
            f"{_FORM}, and {limiter.__qualname__} is a class. Each attempt would make a limiter of "
            f"its own, which limits nothing. Give one object of it, as {limiter.__name__}(...), or "
            "a function of the state."
        )
    if not callable(limiter):
        raise InvalidTypeError(f"{_FORM}, not a {kind}.")
    _check_function(limiter)
    return cast("Limiter[Any]", limiter)


def _check_function(function: Callable[..., Any]) -> None:
    name = getattr(function, "__qualname__", type(function).__qualname__)
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise InvalidTypeError(
            f"{_FORM}, and {name} is a generator function. Decorate it with "
            "contextlib.asynccontextmanager."
        )
    if inspect.iscoroutinefunction(function):
        raise InvalidTypeError(
            f"{_FORM}, and {name} is a coroutine function. Write it with def, and await in the "
            "context manager."
        )
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return  # Some built-in functions have no signature.
    try:
        signature.bind(None)
    except TypeError as error:
        raise InvalidTypeError(f"{_FORM}, and {name} takes {signature}.") from error


def checked_manager(manager: object, step: str) -> AbstractAsyncContextManager[Any]:
    """Give back what a limiter's function gave, if it is an async context manager.

    Raises:
        FlowDefinitionError: It is none.
    """
    if is_manager(manager):
        return cast("AbstractAsyncContextManager[Any]", manager)
    if inspect.iscoroutine(manager):
        manager.close()
    raise FlowDefinitionError(
        f"the limiter= function of step {step!r} gave a {type(manager).__name__}, and it gives an "
        "async context manager. Let it give contextlib.nullcontext() where there is no limit.",
        step=step,
    )
