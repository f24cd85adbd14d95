"""Blocking functions in threads, waited for whatever happens to the waiting task.

A cancelled wait must not leave its function running: a late write could overwrite a newer one.
So a function still queued is dropped, and one under way is waited for before the cancellation
goes on. The cancellations of `Task.cancel()` come once each and are caught one by one; those of an
anyio scope come again and again while it lasts, and are held off by a shielded scope.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import threading
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import anyio

from aiocheckpoint._concurrency.pool import Call, Pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from aiocheckpoint._concurrency.jobs import PendingResult

__all__ = [
    "READY",
    "SNAPSHOTS",
    "STEPS",
    "finish_before_cancelling",
    "finish_result_before_cancelling",
    "run_in_thread",
    "run_shielded_in_thread",
    "shield",
]

_Result = TypeVar("_Result")


SNAPSHOTS = Pool("aiocheckpoint-snapshot", 4, per_loop=False)
"""For reading and writing snapshots alone, so that users' functions cannot fill it."""

STEPS = Pool("aiocheckpoint-step", 40, per_loop=True)
"""For users' sync functions; the size is that of anyio's default limit of worker threads."""


class _Ready:
    """Whether anyio has imported the half that it needs for asyncio.

    It does so when it is first asked something, which takes 50 ms and might be in the middle of a
    failure, with no memory or descriptors left.
    """

    def __init__(self) -> None:
        self.done = False
        self._one_at_a_time = threading.Lock()

    def prepare(self) -> None:
        """Let anyio import it, in a thread."""
        with self._one_at_a_time:
            if not self.done:
                asyncio.run(self._ask())
                self.done = True

    async def _ask(self) -> None:
        anyio.current_effective_deadline()


READY = _Ready()


async def run_in_thread(pool: Pool, function: Callable[..., _Result], *args: Any) -> _Result:  # noqa: ANN401
    """Call a function in a thread of `pool` and await its result.

    Raises:
        asyncio.CancelledError: The task was cancelled. The function has not been called, or has
            ended; what it raised is then the cause.
    """
    call = Call(function, args, asyncio.get_running_loop())
    try:
        pool.put(call)
        await call.future
    except asyncio.CancelledError as caught:
        if call.drop():
            raise
        cancellation = await _wait_shielded(call, caught) or caught
        if call.error is None:
            _put_away(call.result)
        raise cancellation from call.error
    except BaseException:
        # No thread can be started, the coroutine is thrown away, or a signal's handler ends the
        # loop: neither leaves anything to wait with.
        if not call.drop():
            call.block()
        raise
    return call.outcome()


def _put_away(result: object) -> None:
    """Close a coroutine that nobody will await any more."""
    if inspect.iscoroutine(result):
        result.close()


async def finish_result_before_cancelling(
    job: PendingResult[Any], caught: asyncio.CancelledError
) -> NoReturn:
    """Await the end of a job, and only then let the cancellation go on that was caught meanwhile.

    Raises:
        asyncio.CancelledError: What the job failed with is the cause.
    """
    cancellation = await _wait_shielded(job, caught) or caught
    raise cancellation from job.error


async def run_shielded_in_thread(
    pool: Pool,
    function: Callable[..., object],
    *args: Any,  # noqa: ANN401
) -> asyncio.CancelledError | None:
    """Call a function in a thread of `pool` for certain, and wait for its end.

    Returns:
        The first cancellation that came meanwhile, for the caller to raise.
    """
    call = Call(function, args, asyncio.get_running_loop())
    try:
        pool.put(call)
        cancellation = await _wait_shielded(call)
    except BaseException as error:
        if not call.drop():
            call.block()
            raise
        function(*args)
        if isinstance(error, RuntimeError):  # no thread can be started
            return None
        raise
    call.outcome()
    return cancellation


async def finish_before_cancelling(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await a coroutine to its end, and only then let a cancellation go on.

    Raises:
        asyncio.CancelledError: The waiting task was cancelled; what `work` raised is the cause.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError as caught:
        again = await _wait_out(lambda: asyncio.wait([task]), task.done, caught)
        cancellation = again or caught
        raise cancellation from (None if task.cancelled() else task.exception())
    except GeneratorExit:
        work.close()  # It may not have begun, and there is no loop to begin it.
        raise
    return task.result()


async def shield(work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
    """Await a coroutine to its end, out of reach of every cancellation.

    Returns:
        The first cancellation that came from `Task.cancel()` meanwhile, for the caller to raise.
    """
    task = asyncio.ensure_future(work)
    try:
        cancellation = await _wait_out(lambda: asyncio.wait([task]), task.done)
    except GeneratorExit:
        work.close()
        raise
    task.result()
    return cancellation


async def _wait_shielded(
    job: PendingResult[Any], caught: asyncio.CancelledError | None = None
) -> asyncio.CancelledError | None:
    return await _wait_out(job.again, lambda: job.ended, caught)


async def _wait_out(
    wait_once: Callable[[], Awaitable[object]],
    done: Callable[[], bool],
    caught: asyncio.CancelledError | None = None,
) -> asyncio.CancelledError | None:
    """Wait until `done`, and give back the first cancellation of `Task.cancel()` that came.

    Those of anyio scopes are not given back: they come again of themselves.

    Args:
        wait_once: Waits for it, and may be cancelled.
        done: Whether it has come.
        caught: A cancellation that came already.
    """
    native = None if _scope_cancels() else caught
    scoped = caught if native is None else None
    while not done():
        # Not before it is needed: a task abandoned inside a scope is never collected.
        shielded = scoped is not None
        try:
            with anyio.CancelScope(shield=True) if shielded else contextlib.nullcontext():
                await wait_once()
        except asyncio.CancelledError as cancellation:
            if shielded or not _scope_cancels():
                native = native or cancellation
            else:
                scoped = cancellation
    if native is not None and scoped is not None:
        # By its context anyio knows that its scope was cancelled as well.
        native.__context__ = scoped
    return native


def _scope_cancels() -> bool:
    return anyio.current_effective_deadline() == -math.inf
