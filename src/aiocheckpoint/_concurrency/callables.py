"""Users' functions, and how to call each one."""

from __future__ import annotations

import functools
import inspect
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._concurrency.timeouts import StepTimeout

__all__ = ["UserFunction", "is_async_callable", "unwrap_callable"]


@dataclass(slots=True)
class UserFunction:
    """A user's function and how to call it.

    Args:
        function: The function.
        takes_data: Whether it is called with `(state, data)` rather than `(state)`.
        on_loop: Whether it is called on the event loop. True for coroutine functions and with
            `thread=False`.
        belongs_to_handler: Whether it is part of a state handler and must not wait for step
            threads.
        timeout: Its time limit, or None.
    """

    function: Callable[..., Any]
    _: KW_ONLY
    takes_data: bool
    on_loop: bool
    belongs_to_handler: bool = False
    timeout: StepTimeout | None = None


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
