"""Users' functions, and the way in which each is called."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.timeouts import StepTimeout

__all__ = ["UserFunction", "is_async_callable", "unwrap_callable"]


class UserFunction:
    """A user's function and the way to call it.

    Args:
        function: The function.
        takes_data: Whether it is called with `(state, data)` rather than `(state)`.
        on_loop: Whether it is called on the event loop. True for coroutine functions and with
            `thread=False`.
        stores: Whether it belongs to a state handler and must not wait for step threads.
        limit: Its time limit, or None.
    """

    __slots__ = ("function", "limit", "on_loop", "stores", "takes_data")

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        takes_data: bool,
        on_loop: bool,
        stores: bool = False,
        limit: StepTimeout | None = None,
    ) -> None:
        self.function: Callable[..., Any] = function
        self.takes_data: bool = takes_data
        self.on_loop: bool = on_loop
        self.stores: bool = stores
        self.limit: StepTimeout | None = limit


def is_async_callable(function: object) -> bool:
    """Whether calling `function`, through partials and `__call__`, makes a coroutine."""
    return inspect.iscoroutinefunction(unwrap_callable(function))


def unwrap_callable(function: Any) -> Any:  # noqa: ANN401
    """The function under partials, or the `__call__` of a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__
