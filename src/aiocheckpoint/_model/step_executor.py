"""The executors of steps: `executor=`, which executes a step elsewhere."""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

from aiocheckpoint._concurrency.renewed_executor import gives_executor, may_be_executor
from aiocheckpoint.errors import FlowDefinitionError, InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from aiocheckpoint._model.limiter import Limiter

__all__ = [
    "OWN_PROCESSES",
    "StepExecutor",
    "check_executor",
    "check_function_sendable",
    "executor_shown",
]

StepExecutor = Executor | Callable[[], Executor] | Literal["process"]
"""An executor, a function that makes one, or the word for processes of the flow's own."""

OWN_PROCESSES = "process"

_REMEDY = (
    "Put a def of it at the top level of a module, or use an executor that pickles functions by "
    "value, as those of Dask and loky do."
)


def check_executor(
    executor: object,
    *,
    thread: bool,
    limiter: Limiter[Any] | None,
    timeout: float | None,
    keep_data: bool,
) -> None:
    """Check an executor, if there is one, and the other options of its step.

    Args:
        executor: The argument of a user.
        thread: Whether sync functions of the step may leave the event loop.
        limiter: The limiter of the step, or None.
        timeout: The most seconds of a part of the step, or None.
        keep_data: Whether the flow stores `data`.

    Raises:
        InvalidTypeError: It is neither an executor nor callable.
        InvalidValueError: It is another word than "process".
        FlowDefinitionError: An option is given that does nothing elsewhere.
    """
    if executor is None:
        return
    _check_kind(executor)
    problem = None
    if not thread:
        problem = "thread=False keeps a step on the event loop"
    elif limiter is not None:
        problem = "limiter= is held in the process of the run. The number of workers is a limit"
    elif keep_data:
        problem = "a flow with keep_data=True stores `data`, which such a step leaves elsewhere"
    elif timeout is not None and executor != OWN_PROCESSES:
        problem = "timeout= cannot be kept, as nothing stops a call there, but with 'process'"
    if problem is not None:
        raise FlowDefinitionError(f"executor= executes a step elsewhere, and {problem}.")


def _check_kind(executor: object) -> None:
    if isinstance(executor, str):
        if executor != OWN_PROCESSES:
            raise InvalidValueError(
                f"executor={executor!r} is unknown. It is 'process', an executor of "
                "concurrent.futures, or a function that makes one."
            )
    elif not may_be_executor(executor):
        raise InvalidTypeError(
            "executor= is 'process', an executor of concurrent.futures, or a function that makes "
            f"one, not a {type(executor).__name__}."
        )


def executor_shown(executor: StepExecutor) -> str:
    """Say where a step is executed, such as "a process" and "ProcessPoolExecutor"."""
    if executor == OWN_PROCESSES:
        return "a process"
    if not gives_executor(executor):
        return type(executor).__name__
    made: Any = executor
    while isinstance(made, functools.partial):
        made = made.func
    return f"{getattr(made, '__name__', type(made).__name__)}()"


def check_function_sendable(
    executor: StepExecutor, what: str, step: str, function: Callable[..., Any]
) -> None:
    """Refuse a function that an executor with plain pickle could never send.

    A decorator has no name for its function yet, so names are judged, and not looked for.

    Args:
        executor: The executor.
        what: The function in words, such as "the step 'charge'".
        step: Name of the step.
        function: The function.

    Raises:
        FlowDefinitionError: It cannot be pickled by a name, or what it holds cannot be pickled.
    """
    context = _start_context(executor)
    if context is None:
        return
    try:
        _NamesPickler(io.BytesIO(), imports=context != "fork").dump(function)
    except Exception as error:  # noqa: BLE001 - methods of users raise anything
        reason = error.args[0] if isinstance(error, _NamelessError) else type(error).__name__
        raise FlowDefinitionError(
            f"{what} cannot be sent to its executor, which pickles functions by their names: "
            f"{reason}. {_REMEDY}",
            step=step,
        ) from (None if isinstance(error, _NamelessError) else error)


def _start_context(executor: object) -> str | None:
    """The way in which its processes start. None for an executor that needs no plain pickle."""
    if executor == OWN_PROCESSES:
        return "spawn"
    while isinstance(executor, functools.partial):
        executor = executor.func
    # Who has such an executor has imported the module.
    module = sys.modules.get("concurrent.futures.process")
    pools = () if module is None else (vars(module)["ProcessPoolExecutor"],)
    if isinstance(executor, pools):
        context = getattr(executor, "_mp_context", None)
        return "fork" if context is None else str(context.get_start_method())
    is_kind = isinstance(executor, type) and issubclass(executor, pools)
    return "fork" if is_kind else None


class _NamelessError(Exception):
    """A function or class that no other process can import."""


class _NamesPickler(pickle.Pickler):
    """Pickles what is by value in a function, and judges the names of functions and classes.

    Args:
        file: Takes the stream, which nobody reads.
        imports: Whether the other process imports the functions, and inherits none.
    """

    def __init__(self, file: io.BytesIO, *, imports: bool) -> None:
        super().__init__(file, 5)
        self._imports = imports

    def reducer_override(self, obj: object) -> Any:  # noqa: ANN401 - fixed by pickle
        if not isinstance(obj, (FunctionType, type)):
            return NotImplemented
        self._judge(obj)
        return len, ("",)  # In its place, without a look for its name.

    def _judge(self, obj: FunctionType | type) -> None:
        if "<" in obj.__qualname__:
            what = "a lambda" if obj.__name__ == "<lambda>" else "defined inside a function"
            raise _NamelessError(f"{obj.__name__} is {what}")
        main = sys.modules.get("__main__")
        is_typed = getattr(main, "__spec__", None) is None and not hasattr(main, "__file__")
        if self._imports and obj.__module__ == "__main__" and is_typed:
            raise _NamelessError(
                f"{obj.__name__} is defined in this session, and no other process can import it"
            )
