"""The public methods that register the steps of a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from aiocheckpoint._model.checks import checked_timeout
from aiocheckpoint._model.limiter import checked_limiter
from aiocheckpoint._model.retry import checked_retry
from aiocheckpoint._model.state_type import Data, StateT
from aiocheckpoint._model.step_executor import check_executor
from aiocheckpoint._model.steps import Load, Save, StepFunction, checked_needs, make_step
from aiocheckpoint._runs.flow_methods import FlowMethods
from aiocheckpoint._runs.step_registry import StepSlot
from aiocheckpoint._tracebacks import front_door

__all__ = ["StepRegistration"]

_Function = TypeVar("_Function", bound=StepFunction[Data])
_Result = TypeVar("_Result")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiocheckpoint._model.limiter import Limiter
    from aiocheckpoint._model.retry import Retry
    from aiocheckpoint._model.step_executor import StepExecutor

    class TypedDecorator(Generic[StateT]):
        """The decorators of a flow whose states have a type of their own.

        No type checker can compare the state of a function with that of the flow and give the
        function itself as the result. So its parameters lose their names, for checkers alone.
        """

        @overload
        def __call__(
            self, function: Callable[[StateT, Data], _Result], /
        ) -> Callable[[StateT, Data], _Result]: ...

        @overload
        def __call__(
            self, function: Callable[[StateT], _Result], /
        ) -> Callable[[StateT], _Result]: ...

        def __call__(self, function: Any, /) -> Any: ...


class StepRegistration(FlowMethods[StateT]):
    """Registers the steps of a flow."""

    @overload
    def add_step(  # type: ignore[overload-overlap]
        self: StepRegistration[Data],
        load: Load | None = ...,
        save: Save | None = ...,
        *,
        needs: Iterable[str] = ...,
        name: str | None = ...,
        thread: bool = ...,
        replace: bool = ...,
        before: int | str | None = ...,
        after: int | str | None = ...,
        retry: int | Retry | None = ...,
        timeout: float | None = ...,
        limiter: Limiter[Data] | None = ...,
        executor: StepExecutor | None = ...,
    ) -> Callable[[_Function], _Function]: ...

    @overload
    def add_step(
        self,
        load: Load[StateT] | None = ...,
        save: Save[StateT] | None = ...,
        *,
        needs: Iterable[str] = ...,
        name: str | None = ...,
        thread: bool = ...,
        replace: bool = ...,
        before: int | str | None = ...,
        after: int | str | None = ...,
        retry: int | Retry | None = ...,
        timeout: float | None = ...,
        limiter: Limiter[StateT] | None = ...,
        executor: StepExecutor | None = ...,
    ) -> TypedDecorator[StateT]: ...

    def add_step(
        self,
        load: Load[Any] | None = None,
        save: Save[Any] | None = None,
        *,
        needs: Iterable[str] = (),
        name: str | None = None,
        thread: bool = True,
        replace: bool = False,
        before: int | str | None = None,
        after: int | str | None = None,
        retry: int | Retry | None = None,
        timeout: float | None = None,
        limiter: Limiter[Any] | None = None,
        executor: StepExecutor | None = None,
    ) -> Any:
        """Make a decorator that registers a function as a step and returns it unchanged.

        The step is called with `(state, data)`, or with `(state)` if it takes one argument. A
        second parameter with a default counts only under the name `data`. The step changes both
        dicts in place. Its return value is not kept.

        Args:
            load: `load(state)` returns a dict that is merged into `data` before the step.
            save: `save(state, data)`, or `save(state)`, is called after the step and before the
                snapshot.
            needs: Keys of `data` that the loader brings, such as `("rows",)`. The loader then runs
                before its step whenever one of them is not in `data`, also where "first only"
                would not call it. A loader that does not bring each of them is an error.
            name: The step's name, by default the function's.
            thread: Whether `arun` calls sync functions of this step in a worker thread, where
                they never stall the event loop. False keeps them on the loop, for functions
                that are quick or need it. `run` calls them in the caller's thread either way.
            replace: Whether this step may take the place of a step of the same name. Without such a
                step it is appended. In an interactive session the step of an earlier cell is
                replaced without it, and a line on stderr says so.
            before: Name or index of the step to put this one before, instead of at the end.
            after: Name or index of the step to put this one behind.
            retry: How often the step is tried in all when it, its loader or its saver raises an
                `Exception`. Or a `Retry`, for which exceptions, how often and after which pauses.
                Each attempt begins with both dicts as they were on entry to the step, after a
                saver that raised with both as the step left them: it is called again alone.
                Changes inside the values of `data` remain, unless the loader or `keep_data=True`
                fills `data` again. Needs the extra "retry".
            timeout: The most seconds that the step, its loader and its saver may each take in one
                attempt. A longer one raises `StepTimeoutError`. All of them must be coroutine
                functions, because nothing can stop a sync function in its thread. Or
                `executor="process"`, whose process is killed.
            limiter: An async context manager, such as `anyio.CapacityLimiter(10)` or
                `asyncio.Semaphore(10)`, that all runs share, or a function of the state that gives
                one, such as that of a tenant. It is held for one attempt: loader, step and saver.
                The wait for it is no part of `timeout`, and ends at once when the run is cancelled
                or the flow drained. The function is called on the event loop. A limiter of asyncio
                or anyio belongs to one event loop, and `run` refuses flows with limiters.
            executor: Executes the loader, the step and the saver elsewhere, in one call, such as
                those that hold the interpreter. "process" executes them in processes of the flow's
                own, as many as there are processors. They are spawned at the first use, and end
                with `async with` or the interpreter. Or an executor of `concurrent.futures`, Dask's
                `client.get_executor()` included. Or a function that makes one: it is called again
                when that broke, and what it has made is shut down as the processes are.

                The functions must be sync. Executors with plain pickle find them by their names in
                a module that the other process imports. The state travels there and back as it is
                stored, so that values are copies. `data` begins empty there, the loader is called
                always, and what is left in `data` is dropped. `current_step()` has the key, the
                attempt and the cursor. Progress comes back while the step runs, on the same
                machine, and with its end from another one. Exceptions, `Pause` and `Terminate` come
                back as well, with the traceback of the worker as the cause.

                The loss of a worker is no failure of the step, which is sent again up to three
                times. A cancellation withdraws a step that has not begun, and waits for one that
                has. Dask does not say whether one has begun, and is waited for.

        Returns:
            The decorator.

        Raises:
            InvalidTypeError, InvalidValueError: `retry`, `timeout`, `needs`, `limiter` or
                `executor` is invalid, or `before` and `after` are both given. By the decorator:
                one of them is no step.
            MissingExtraError: `retry` is given, and the package `stamina` is not installed.
            FlowDefinitionError: `needs` is given without a loader. Or `executor` is given with
                `thread=False`, `limiter`, another `timeout` than that of "process", or in a flow
                with `keep_data=True`. By the decorator: a function is no function, is a generator
                function, takes other arguments or takes them in another order, cannot keep a
                `timeout`, or cannot be sent to the executor. Or the name is taken already.
        """
        policy = None if retry is None else checked_retry(retry)
        seconds = None if timeout is None else checked_timeout(timeout)
        keys, limit = checked_needs(needs, load), checked_limiter(limiter)
        slot, keeps = StepSlot(before, after), self._core.settings.keep_data
        check_executor(executor, thread=thread, limiter=limit, timeout=seconds, keep_data=keeps)
        self._core.registry.open_decorator(load)

        @front_door
        def register(function: _Function) -> _Function:
            self._core.registry.close_decorator(load)
            step = make_step(
                *(function, load, save),
                name=name,
                thread=thread,
                retry=policy,
                timeout=seconds,
                needs=keys,
                limiter=limit,
                executor=executor,
            )
            self._core.registry.put(step, slot, replace=replace)
            return function

        return register

    def remove_step(self, name: str) -> None:
        """Take a step out of the flow, as after its function was renamed in a notebook.

        A run in progress keeps its steps.

        Raises:
            InvalidTypeError, InvalidValueError: There is no step of this name.
        """
        self._core.registry.remove(name)
