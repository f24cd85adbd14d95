"""Context variables, as if each function of a user were awaited in the caller's task.

A function in a thread, and a coroutine on the private loop, need a context of their own, because
no two threads and no two callbacks may be inside the same one at once. What is set there is set
in the caller's context afterwards.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from contextvars import Context, ContextVar, Token, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["MirroredContext", "adopt_changes", "task_in_own_context"]

_Result = TypeVar("_Result")
_Tokens = dict[ContextVar[Any], Token[Any]]
_ABSENT = object()


def adopt_changes(before: Context, after: Context) -> None:
    """Set here the variables that differ between two states of another context.

    Args:
        before: A copy of the current context.
        after: A copy of `before` in which a function ran. A function can take no variable out of
            such a copy that was in it at first: `reset()` refuses the tokens of other contexts.
    """
    for variable, value in after.items():
        # Compared by identity. Values may be unequal to themselves, or raise when compared.
        if before.get(variable, _ABSENT) is not value:
            variable.set(value)


class MirroredContext:
    """A context for coroutines, which has the variables of the current one, and hands back its own.

    It is one object for all calls, so that a coroutine can reset what an earlier one has set.
    """

    def __init__(self) -> None:
        self._context = Context()
        self._known = Context()
        self._tokens_inside: _Tokens = {}
        self._tokens_outside: _Tokens = {}

    def call(self, function: Callable[[Context], _Result]) -> _Result:
        """Call a function with the context, and take over here what was changed in it."""
        outside = copy_context()
        self._context.run(_follow, self._known, outside, self._tokens_inside)
        self._known = outside
        try:
            return function(self._context)
        finally:
            inside = self._context.copy()
            _follow(self._known, inside, self._tokens_outside)
            self._known = inside


def _follow(before: Context, after: Context, tokens: _Tokens) -> None:
    """Change the current context as another one changed.

    Args:
        before: The other one, when it had the same variables as this one.
        after: The other one now.
        tokens: The tokens of variables that this context had none of before. Only such a token
            takes a variable out of a context again.
    """
    for variable, value in after.items():
        if before.get(variable, _ABSENT) is not value:
            token = variable.set(value)
            if token.old_value is Token.MISSING:
                tokens[variable] = token
    for variable in before:
        if variable not in after and variable in tokens:
            variable.reset(tokens.pop(variable))


def task_in_own_context(work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
    """Start a task whose context is that of the current task itself, not a copy.

    The current task must wait for it. Never through the loop's task factory: an eager task would
    enter the context while the current task is still inside.
    """
    return asyncio.Task(work, loop=asyncio.get_running_loop(), context=_own_context())


def _own_context() -> Context:
    task = asyncio.current_task()
    if task is not None:
        if sys.version_info >= (3, 12):
            return task.get_context()
        # Python 3.11 has no call for it. The other contexts are those of callbacks.
        for one in gc.get_referents(task):
            if isinstance(one, Context) and _is_entered(one):
                return one
    return copy_context()


def _is_entered(context: Context) -> bool:
    try:
        context.run(_nothing)
    except RuntimeError:
        return True
    return False


def _nothing() -> None:
    return None
