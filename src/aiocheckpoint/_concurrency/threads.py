"""Waiting for blocking functions in threads, under every kind of cancellation.

A cancelled wait must not leave its function running, because a late write could overwrite a newer
one. So a queued function is dropped. A running function is waited for, and only then is the
cancellation raised.

Each `Task.cancel()` raises one cancellation, which is caught and raised again at the end. An anyio
scope raises its cancellation at every await, so a shielded scope holds it off.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import anyio

from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint.errors import NoThreadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._concurrency.work_items import Threads

__all__ = [
    "SNAPSHOTS",
    "AbandonedCallError",
    "anyio_warm_up",
    "finish_before_cancelling",
    "prefer_cancellation",
    "raise_cancellation_after",
    "run_in_thread",
    "run_shielded_in_thread",
    "shield",
]

_Result = TypeVar("_Result")


SNAPSHOTS = DaemonThreads("aiocheckpoint-snapshot", 4)
"""Threads for snapshots alone, so that users' functions cannot fill them."""


class _AnyioWarmUp:
    """Imports the asyncio half of anyio before a run needs it.

    anyio imports it at its first call. This takes 50 ms, and memory and descriptors that a failing
    run may not have.
    """

    def __init__(self) -> None:
        self.done = False

    def prepare(self) -> None:
        """Let anyio import it. Called in a thread, or in a task of a loop in such a thread.

        Without a lock, because a finalizer in this thread may call it in the midst of it. Python
        imports a module once, however many threads ask for it.
        """
        if self.done:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._ask())
        else:
            anyio.current_effective_deadline()
        self.done = True

    async def _ask(self) -> None:
        anyio.current_effective_deadline()


anyio_warm_up = _AnyioWarmUp()


class AbandonedCallError(asyncio.CancelledError):
    """A cancellation that does not wait for an abandoned function, which is still running."""


async def run_in_thread(
    threads: Threads,
    function: Callable[..., _Result],
    *args: Any,  # noqa: ANN401
) -> _Result:
    """Call a function in one of `threads` and await its result.

    Raises:
        asyncio.CancelledError: The task was cancelled. The function was not called, or it has
            ended and its exception is the cause.
        AbandonedCallError: The task was cancelled, and the function runs on in its thread.
        NoThreadError: No thread can be started, and the function was not called. Or its thread
            ended by an error of its own, which is the cause.
    """
    item = WorkItem(function, args, asyncio.get_running_loop())
    try:
        threads.put(item)
        await item.future
    except asyncio.CancelledError as caught:
        if item.drop():
            raise
        cancellation = await _wait_shielded(item, caught) or caught
        if item.abandoned and item.is_running:
            raise AbandonedCallError(*cancellation.args) from None
        if item.error is None:
            _close_coroutine(item.result)
        raise cancellation from item.error
    except BaseException:
        # No thread can be started, the coroutine is closed, or the handler of a signal ends the
        # loop. In none of these cases can the coroutine await anything.
        if not item.drop():
            item.join()
        raise
    return item.outcome()


def _close_coroutine(result: object) -> None:
    """Close a coroutine that will not be awaited."""
    if inspect.iscoroutine(result):
        result.close()


async def raise_cancellation_after(
    pending: PendingResult[Any], caught: asyncio.CancelledError
) -> NoReturn:
    """Await the end of pending work, and only then raise the cancellation caught meanwhile.

    Raises:
        asyncio.CancelledError: The exception of the work is the cause.
    """
    cancellation = await _wait_shielded(pending, caught) or caught
    raise cancellation from pending.error


def prefer_cancellation(cancellation: asyncio.CancelledError | None, error: BaseException) -> None:
    """Raise a cancellation received while `error` was handled, instead of `error`.

    asyncio does the same.
    """
    if cancellation is not None and isinstance(error, Exception):
        raise cancellation from error


async def run_shielded_in_thread(
    threads: Threads,
    function: Callable[..., object],
    *args: Any,  # noqa: ANN401
) -> asyncio.CancelledError | None:
    """Call a function in one of `threads` for certain, and wait for its end.

    If its thread ends in the midst of the call, it is called again in this thread.

    Returns:
        The first cancellation that came meanwhile, for the caller to raise.
    """
    item = WorkItem(function, args, asyncio.get_running_loop())
    try:
        threads.put(item)
        cancellation = await _wait_shielded(item)
    except BaseException as error:
        if not item.drop():
            item.join()
            raise
        function(*args)
        if isinstance(error, NoThreadError):
            return None
        raise
    if item.drop() or isinstance(item.error, NoThreadError):  # Its thread has ended.
        function(*args)
    else:
        item.outcome()
    return cancellation


async def finish_before_cancelling(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await a coroutine to its end, and only then raise a cancellation.

    Raises:
        asyncio.CancelledError: The waiting task was cancelled. The exception of `work` is the
            cause.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError as caught:
        again = await _wait_out(lambda: asyncio.wait([task]), task.done, caught)
        cancellation = again or caught
        raise cancellation from (None if task.cancelled() else task.exception())
    except GeneratorExit:
        work.close()  # It may not have started, and no loop will start it.
        raise
    return task.result()


async def shield(work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
    """Await a coroutine to its end, through every cancellation.

    Returns:
        The first cancellation by `Task.cancel()` that came meanwhile, for the caller to raise.
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
    pending: PendingResult[Any], caught: asyncio.CancelledError | None = None
) -> asyncio.CancelledError | None:
    return await _wait_out(pending.wait_again, lambda: pending.ended, caught)


async def _wait_out(
    wait_once: Callable[[], Awaitable[object]],
    done: Callable[[], bool],
    caught: asyncio.CancelledError | None = None,
) -> asyncio.CancelledError | None:
    """Wait until `done`, and return the first cancellation by `Task.cancel()`.

    Cancellations of anyio scopes are not returned, because anyio raises them again.

    Args:
        wait_once: Awaits the end. It may be cancelled.
        done: Whether the end has come.
        caught: A cancellation that was caught before.
    """
    native = None if _scope_cancels() else caught
    scoped = caught if native is None else None
    while not done():
        # No scope unless it is needed: a task abandoned inside a scope is never collected.
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
        # anyio recognises by this context that its scope was cancelled as well.
        native.__context__ = scoped
    return native


def _scope_cancels() -> bool:
    return anyio.current_effective_deadline() == -math.inf
