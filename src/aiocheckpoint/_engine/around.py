"""The context managers of users around a run, an attempt or a snapshot: `around=`."""

from __future__ import annotations

import inspect
import logging
from asyncio import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.executors import ExceptionEnvelope
from aiocheckpoint._concurrency.threads import prefer_cancellation
from aiocheckpoint._logging import log, place_of
from aiocheckpoint._model.termination import ENDS_OF_STEPS
from aiocheckpoint._tracebacks import calls_user_code, drop_frames_of_engine
from aiocheckpoint.errors import InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Literal, TypeGuard

    from aiocheckpoint._engine.context import RunContext
    from aiocheckpoint.events import Around, Event

    Part = Literal["run", "attempt", "snapshot"]

__all__ = ["exit_args", "run_inside_managers"]


async def run_inside_managers(
    context: RunContext,
    part: Part,
    event: Event,
    work: Coroutine[Any, Any, None],
    *,
    even_if_cancelled: bool = False,
) -> CancelledError | None:
    """Await `work` inside the context managers that the functions of `around=` give.

    They are entered and left in the current task, so that their context variables hold for the
    work and for the threads that it calls. None of them ends or changes the work: what they raise
    is logged, and their `__exit__` swallows no exception.

    Args:
        context: The run.
        part: What the work is.
        event: The event of its beginning.
        work: The coroutine.
        even_if_cancelled: Whether the work is also done if a cancellation comes before it.

    Returns:
        A cancellation that came behind the work, which has succeeded. The caller raises it.

    Raises:
        BaseException: The exception of the work.
        asyncio.CancelledError: A cancellation came before the work, or behind an exception of it.
    """
    managers = _Managers(context, part)
    try:
        cancellation = await managers.enter(event)
        if cancellation is not None:
            work = _do_cancelled(context, work, cancellation, done_anyway=even_if_cancelled)
        await work
    except GeneratorExit as error:
        work.close()
        managers.close(error)
        raise
    except BaseException as error:
        work.close()
        prefer_cancellation(await managers.leave(error), error)
        raise
    return await managers.leave(None) if managers.entered else None


async def _do_cancelled(
    context: RunContext,
    work: Coroutine[Any, Any, None],
    caught: CancelledError,
    *,
    done_anyway: bool,
) -> None:
    """Do work only if it is done anyway, and raise the cancellation that came before it."""
    if done_anyway:
        await context.backend.finish(work, caught)
    work.close()
    raise caught


class _Managers:
    """The context managers of one part of a run, from the first one entered to the last one left.

    Args:
        context: The run.
        part: The part.

    Attributes:
        entered: Each function with the manager that it gave, and whether that is async.
    """

    __slots__ = ("_backend", "_functions", "_part", "_run", "entered")

    def __init__(self, context: RunContext, part: Part) -> None:
        self._functions, self._backend = context.settings.around, context.backend
        self._run = context.settings.flow, context.run_id
        self._part: Part = part
        self.entered: list[tuple[Around, Any, bool]] = []

    async def enter(self, event: Event) -> CancelledError | None:
        """Enter those that the functions give, in order.

        Returns:
            A cancellation of the run that came meanwhile. The rest is not entered then.
        """
        for function in self._functions:
            before = None
            try:
                manager: Any = _call(function, self._part, event)
                if manager is None:
                    continue
                kind = type(manager)
                is_async = _is_async(manager)
                if is_async:
                    before = self._backend.cancellations()
                    await self._backend.executor.await_if_needed(_call(kind.__aenter__, manager))
                else:
                    _call(kind.__enter__, manager)
            except (Exception, CancelledError, *ENDS_OF_STEPS) as error:  # noqa: BLE001 - logged
                if self._is_of_run(error, before):
                    return error
                self._log(function, "before", error)
            else:
                self.entered.append((function, manager, is_async))
        return None

    async def leave(self, error: BaseException | None) -> CancelledError | None:
        """Leave those that were entered, in reverse order.

        Args:
            error: The exception that ended the part, or None.

        Returns:
            A cancellation of the run that came meanwhile.
        """
        error = error.error if isinstance(error, ExceptionEnvelope) else error
        cancellation: CancelledError | None = None
        interruption: BaseException | None = None
        while self.entered:
            function, manager, is_async = self.entered.pop()
            before, traceback = None, _traceback_of(error)
            try:
                if is_async:
                    before = self._backend.cancellations()
                    await self._leave_async(manager, error)
                else:
                    _call(type(manager).__exit__, manager, *exit_args(error))
            except BaseException as raised:  # noqa: BLE001 - raised again if it is an interruption
                if self._is_of_run(raised, before):
                    cancellation = cancellation or raised
                elif isinstance(raised, (Exception, CancelledError, *ENDS_OF_STEPS)):
                    self._log(function, "behind", raised, of=error)
                elif raised is not error:
                    error = interruption = raised
            if error is not None and error is not interruption:
                # `raise` in an `__exit__` adds to it. The class may have a method of its own.
                BaseException.with_traceback(error, traceback)
        if interruption is not None:
            raise interruption
        return cancellation

    async def _leave_async(self, manager: Any, error: BaseException | None) -> None:  # noqa: ANN401
        call = _call(type(manager).__aexit__, manager, *exit_args(error))
        await self._backend.executor.await_if_needed(call)

    def close(self, error: GeneratorExit) -> None:
        """Leave the sync ones in a coroutine that is being closed, which may not await."""
        while self.entered:
            _, manager, is_async = self.entered.pop()
            # The context may be another one, in which no token of a variable is valid.
            with suppress(Exception):
                if not is_async:
                    _call(type(manager).__exit__, manager, *exit_args(error))

    def _is_of_run(self, error: BaseException, before: int | None) -> TypeGuard[CancelledError]:
        """Whether an exception is a cancellation of the run, and not one of the manager's own.

        Args:
            error: The exception.
            before: The number of cancellations before something was awaited. None if nothing was.
        """
        if before is None or not isinstance(error, CancelledError):
            return False
        return self._backend.cancellations() > before

    def _log(
        self, function: Around, when: str, raised: BaseException, *, of: BaseException | None = None
    ) -> None:
        if raised is of:
            return  # It hands on the exception of the part.
        drop_frames_of_engine(raised)
        if of is not None and raised.__context__ is of:
            raised.__context__ = None  # The text of the step's exception is no concern of the log.
        name = getattr(function, "__qualname__", type(function).__qualname__)
        words = "%s of around= raised an exception %s the part %r. The run continues."
        log(logging.ERROR, place_of(*self._run), words, name, when, self._part, error=raised)


def _is_async(manager: object) -> bool:
    """Whether a context manager is async. One that is both counts as sync.

    Raises:
        InvalidTypeError: It is no context manager.
    """
    kind = type(manager)
    if hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
        return False
    if hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__"):
        return True
    if inspect.iscoroutine(manager):
        manager.close()
    raise InvalidTypeError(
        f"a function of around= gives a context manager or None, not a {kind.__name__}. "
        "Was contextlib.contextmanager forgotten?"
    )


def exit_args(error: BaseException | None) -> tuple[object, object, object]:
    """The arguments of `__exit__`."""
    return (None, None, None) if error is None else (type(error), error, error.__traceback__)


def _traceback_of(error: BaseException | None) -> TracebackType | None:
    return None if error is None else error.__traceback__


@calls_user_code
def _call(function: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
    return function(*args)
