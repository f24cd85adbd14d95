"""The transaction of a step's attempt: `current_step().connection()`.

The first call begins it, for the attempt that is in progress. It is committed with the snapshot
behind the step, and rolled back wherever the attempt ends in another way. A run whose steps ask for
no connection has none of it.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from aiocheckpoint._concurrency.backends import AsyncBackend, SyncBackend, run_to_completion
from aiocheckpoint._concurrency.callables import is_async_callable, unwrap_callable
from aiocheckpoint._concurrency.step_threads import StepThreads
from aiocheckpoint._concurrency.threads import run_shielded_in_thread
from aiocheckpoint._concurrency.timeouts import paused_timeout
from aiocheckpoint.errors import (
    FlowDefinitionError,
    NotTransactionalError,
    OutsideStepError,
    StepTransactionError,
)
from aiocheckpoint.handlers._step_transactions import TransactionLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint._concurrency.callables import UserFunction
    from aiocheckpoint._engine.active_run import ActiveRun
    from aiocheckpoint._engine.ended_steps import EndedStep
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.steps import Step, Steps
    from aiocheckpoint.handlers._run_store import RunStore
    from aiocheckpoint.handlers._step_transactions import StepTransaction

__all__ = ["AttemptTransaction", "EndedTransaction", "end_transaction", "take_connection"]

_USE_SECONDS = 5.0
"""How long the end of an attempt waits for a statement that it has left behind. A stream of rows
that was not read to its end needs a turn of the loop."""
_LOOK_SECONDS = 0.01
_CALLS_NO_STEP = StepThreads(1)
_MAKING = threading.RLock()
"""Held while a transaction is made: several tasks and threads of a step may ask at once."""


class Run(Protocol):
    """The parts of a run that are needed here. See `RunContext`."""

    active_run: ActiveRun
    backend: Backend
    run_store: RunStore
    steps: Steps
    transaction: AttemptTransaction | None


class Progress(Protocol):
    """The position in a step. See `StepProgress`."""

    ended: EndedStep | None
    index: int
    part: str


def take_connection(run: Run, progress: Progress) -> Any:  # noqa: ANN401 - of a driver
    """Give the connection to the part of a step that is being called, or an awaitable for it.

    Args:
        run: The run.
        progress: The position in the step.

    Raises:
        NotTransactionalError, OutsideStepError, FlowDefinitionError: It gets none.
        BaseException: What the wait raises, for a sync function.
    """
    step = run.steps[progress.index]
    called = [function for name, function in step.parts if name == progress.part]
    if not called or not run.active_run.is_interruptible:
        raise OutsideStepError("neither its loader nor its function nor its saver is called now")
    if run.run_store.transactions is None:
        raise NotTransactionalError(run.run_store.location, step.name)
    is_async = _is_awaited(run.backend, called[0], step)
    with _MAKING:
        transaction = run.transaction
        if transaction is None:
            begun = run.run_store.transactions.begin(step.name)
            transaction = run.transaction = AttemptTransaction(run, begun, step.name)
    if is_async:
        return _AwaitedConnection(transaction)
    return transaction.take_blocking()


class EndedTransaction(NamedTuple):
    """The transaction of an attempt that did not succeed, once it is rolled back.

    Attributes:
        error: The exception that ended the attempt, or a cancellation that came behind it.
        is_lost: Whether its connection broke, so that the step may be executed again.
    """

    error: BaseException
    is_lost: bool


async def end_transaction(
    transaction: AttemptTransaction, progress: Progress, error: BaseException
) -> EndedTransaction:
    """Roll back the transaction of an attempt that did not succeed."""
    # A commit says by its error whether the transaction was lost, or may have been committed.
    is_lost = progress.part != "snapshot" and transaction.lost_by(error)
    progress.ended = None  # The saver is not called again alone: the step's SQL is gone.
    cancellation = await transaction.roll_back()
    if isinstance(error, TransactionLostError):
        error = error.error
        is_lost = True
    elif isinstance(error.__cause__, TransactionLostError):
        error.__cause__ = error.__cause__.error
    if cancellation is not None and isinstance(error, Exception):
        cancellation.__cause__ = error
        error = cancellation
    return EndedTransaction(error, is_lost and isinstance(error, Exception))


def _is_awaited(backend: Backend, function: UserFunction, step: Step) -> bool:
    """Whether a coroutine asks: the function is one, or has returned one that is awaited now.

    Raises:
        FlowDefinitionError: A sync function on the event loop asks.
    """
    plain = inspect.unwrap(unwrap_callable(inspect.unwrap(function.function)))
    if is_async_callable(plain):
        return True
    try:
        is_on_loop = asyncio.get_running_loop() is backend.hook_loop
    except RuntimeError:
        return False
    if is_on_loop and function.on_loop and backend.loop is not None:
        raise FlowDefinitionError(
            f"step {step.name!r} asked for its connection in a sync function with thread=False, "
            "which would block the event loop, and all runs on it, while it waits for the "
            "database. Make it an async def, or leave thread=False out.",
            step=step.name,
        )
    return is_on_loop


class _AwaitedConnection:
    """The connection for a coroutine, once it is awaited."""

    def __init__(self, transaction: AttemptTransaction) -> None:
        self._transaction = transaction

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._transaction.take().__await__()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if name.startswith("_"):
            raise AttributeError(name)
        raise self._not_awaited(f"used .{name} of it")

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_"):
            raise self._not_awaited(f"set .{name} of it")
        super().__setattr__(name, value)

    def __enter__(self) -> NoReturn:
        raise self._not_awaited("used it in `with`")

    def __exit__(self, *error: object) -> None: ...

    def __aenter__(self) -> NoReturn:
        raise self._not_awaited("used it in `async with`")

    async def __aexit__(self, *error: object) -> None: ...

    def _not_awaited(self, did: str) -> StepTransactionError:
        return StepTransactionError(
            self._transaction.step,
            f"a coroutine asked for connection(), did not await it, and {did}",
            "Write connection = await current_step().connection(), which needs no `async with`: "
            "the transaction ends with the attempt.",
        )


class AttemptTransaction:
    """The transaction of one attempt, from the first call of `connection()` to the attempt's end.

    Args:
        run: The run.
        in_store: The transaction in the store, not open yet.
        step: Name of the step.

    Attributes:
        step: The same.
    """

    __slots__ = (
        "_has_ended",
        "_in_store",
        "_is_open",
        "_loop_lock",
        "_run",
        "_thread_lock",
        "step",
    )

    def __init__(self, run: Run, in_store: StepTransaction, step: str) -> None:
        self._run, self._in_store = run, in_store
        self.step: str = step
        self._is_open = self._has_ended = False
        # Of several tasks or threads of the step that ask at once, one opens it.
        self._loop_lock = asyncio.Lock()
        self._thread_lock = threading.Lock()

    def lost_by(self, error: BaseException) -> bool:
        """Whether an exception of the step comes from a connection that broke without its doing."""
        return self._is_open and self._in_store.lost_by(error)

    async def take(self) -> Any:  # noqa: ANN401
        """Give the connection to a coroutine. The wait is no part of its time limit."""
        # The loop may be the private one of `run`, of which the backend of the run knows nothing.
        backend = await AsyncBackend.make_for_reading(_CALLS_NO_STEP, self._in_store.threads)
        with paused_timeout():
            async with self._loop_lock:
                await self._open(backend)
        return self._in_store.connection(is_async=True)

    def take_blocking(self) -> Any:  # noqa: ANN401
        """Give the connection to a sync function, in its thread."""
        with self._thread_lock:
            run_to_completion(self._open(SyncBackend()))
        return self._in_store.connection(is_async=False)

    async def _open(self, backend: Backend) -> None:
        if not self._is_open:
            await self._in_store.open(backend, self)
            self._is_open = True
        if self._has_ended:
            self._in_store.abandon()
            self._check_not_ended()

    def check(self) -> None:
        """Raise an exception if the wait for a connection is to end.

        Raises:
            DrainingError: The flow is drained.
            asyncio.CancelledError: The run was cancelled or terminated.
            OutsideStepError: The attempt has ended without it.
        """
        run = self._run.active_run
        self._check_not_ended()
        if run.drains:
            run.active_runs.check()
        if run.termination_reason is not None or run.is_cancelled:
            raise CancelledError

    def listening(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `callback` on the running loop when the flow is drained, inside the block."""
        return self._run.active_run.active_runs.on_drain(callback)

    def _check_not_ended(self) -> None:
        if self._has_ended:
            raise OutsideStepError("its attempt has ended")

    async def settle(self, late: CancelledError | None) -> CancelledError | None:
        """Let the step use its connection no more, as its parts have returned.

        Args:
            late: A cancellation that came before.

        Returns:
            The first cancellation that came by now. The step is done.

        Raises:
            StepTransactionError: The transaction cannot be committed.
        """
        self._has_ended = True
        if not self._is_open:  # The step has passed over the exception that it got instead.
            self._run.transaction = None
            return late
        if self._in_store.is_in_use:
            late = await self._run.backend.shield(self._wait_for_use()) or late
        self._in_store.settle()
        return late

    async def _wait_for_use(self) -> None:
        deadline = time.monotonic() + _USE_SECONDS
        while self._in_store.is_in_use and time.monotonic() < deadline:
            await self._run.backend.sleep(_LOOK_SECONDS)

    async def write(
        self,
        header: Header,
        state: dict[str, Any],
        step: str | None,
        *,
        drops_progress: bool = False,
    ) -> int:
        """Store the snapshot behind the step, as `RunStore.write` does, and commit."""
        try:
            return await self._in_store.write(header, state, step, drops_progress=drops_progress)
        finally:
            if self._in_store.is_committed:
                self._run.transaction = None

    async def roll_back(self) -> CancelledError | None:
        """Roll it back behind an attempt that did not succeed.

        Returns:
            A cancellation that came meanwhile.
        """
        self._has_ended, self._run.transaction = True, None
        if not self._is_open:
            return None
        if self._run.backend.loop is None:
            self._in_store.roll_back()
            return None
        return await run_shielded_in_thread(
            self._in_store.threads, self._in_store.roll_back, if_stalled="leave"
        )

    def abandon(self) -> None:
        """End it in a coroutine that is being closed, and may not wait."""
        self._has_ended, self._run.transaction = True, None
        if self._is_open:
            self._in_store.abandon()
