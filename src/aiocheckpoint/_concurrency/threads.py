"""Waiting for blocking functions in threads, under every kind of cancellation.

A cancelled wait must not leave its function running, because a late write could overwrite a newer
one. So a queued function is dropped. A running function is waited for, and only then is the
cancellation raised. Of what must be stored nevertheless, `stalls` has the exception.

Stores on other machines may be out of reach for long. A running function of one is told that its
caller has gone, see `giving_up`. A request to one is withdrawn if it was not sent.

Each `Task.cancel()` raises one cancellation, which is caught and raised again at the end. An anyio
scope raises its cancellation at every await, so a shielded scope holds it off.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import anyio

from aiocheckpoint._concurrency.contexts import task_in_own_context
from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.giving_up import giving_up_after, stall_seconds
from aiocheckpoint._concurrency.late_cancellations import (
    AbandonedCallError,
    LateCancellationError,
)
from aiocheckpoint._concurrency.stalls import StalledError, StallWatch
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint.errors import NoThreadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from aiocheckpoint._concurrency.giving_up import Answers
    from aiocheckpoint._concurrency.pending_results import PendingResult
    from aiocheckpoint._concurrency.stalls import Watch
    from aiocheckpoint._concurrency.work_items import Threads

__all__ = [
    "SNAPSHOTS",
    "AbandonedCallError",
    "LateCancellationError",
    "call_store",
    "finish_before_cancelling",
    "gives_up_at_once",
    "make_maintenance_threads",
    "make_store_threads",
    "prefer_cancellation",
    "raise_cancellation_after",
    "run_in_thread",
    "run_shielded_in_thread",
    "shield",
    "wait_for_item",
]

_Result = TypeVar("_Result")


_COUNT = 4
_IDLE_SECONDS = 5.0


class _LocalThreads(DaemonThreads):
    def __reduce__(self) -> str:  # type: ignore[override]
        """Pickle the name: there is one in each process."""
        return "SNAPSHOTS"


SNAPSHOTS = _LocalThreads("aiocheckpoint-snapshot", _COUNT)
"""Threads for snapshots in local files alone, so that nothing else can fill them: no function of
users, and no other store that hangs."""


def make_store_threads(answers: Answers | None = None) -> DaemonThreads:
    """Make the threads of one store that is no local file.

    Args:
        answers: Counts the answers of a store on another machine.
    """
    return DaemonThreads("aiocheckpoint-store", _COUNT, idle_seconds=_IDLE_SECONDS, answers=answers)


def make_maintenance_threads() -> DaemonThreads:
    """Make the threads that copy one store, or make it smaller."""
    return DaemonThreads("aiocheckpoint-maintenance", 2, idle_seconds=_IDLE_SECONDS)


async def run_in_thread(
    threads: Threads,
    function: Callable[..., _Result],
    *args: Any,  # noqa: ANN401
) -> _Result:
    """Call a function in one of `threads` and await its result.

    Raises:
        asyncio.CancelledError: As in `wait_for_item`.
        NoThreadError: As in `wait_for_item`.
    """
    item = WorkItem(function, args, asyncio.get_running_loop())
    await wait_for_item(threads, item)
    return item.outcome()


async def call_store(
    threads: DaemonThreads,
    function: Callable[..., _Result],
    *args: Any,  # noqa: ANN401
) -> _Result:
    """Call a blocking function of a store in one of its threads, as `run_in_thread` does.

    A cancellation ends a wait for a store out of reach.
    """
    return await run_in_thread(threads, threads.made_call(function), *args)


async def wait_for_item(threads: Threads, item: WorkItem[Any]) -> None:
    """Let one of `threads` run an item, and await its end.

    Raises:
        asyncio.CancelledError: The task was cancelled. The function was not called, or it has
            ended and its exception is the cause.
        AbandonedCallError: The task was cancelled, and the function runs on in its thread.
        NoThreadError: No thread can be started, and the function was not called. Or its thread
            ended by an error of its own, which is the cause.
    """
    try:
        threads.put(item)
        await item.future
    except asyncio.CancelledError as caught:
        if item.withdraw():
            raise
        cancellation = await _wait_shielded(item, caught) or caught
        if item.abandoned and item.is_running:
            raise AbandonedCallError(*cancellation.args) from None
        if item.error is None:
            _close_coroutine(item.result)
        raise cancellation from _cause_of(item)
    except BaseException:
        # No thread can be started, the coroutine is closed, or the handler of a signal ends the
        # loop. In none of these cases can the coroutine await anything.
        if not item.withdraw():
            item.join()
        raise


def _close_coroutine(result: object) -> None:
    """Close a coroutine that will not be awaited."""
    if inspect.iscoroutine(result):
        result.close()


async def raise_cancellation_after(
    pending: PendingResult[Any], caught: asyncio.CancelledError, threads: DaemonThreads
) -> NoReturn:
    """Await the end of pending work, and only then raise the cancellation caught meanwhile.

    Work that was not sent is withdrawn when its store has not answered for a second.

    Args:
        pending: The work.
        caught: The cancellation that was caught.
        threads: Those of the store.

    Raises:
        asyncio.CancelledError: The exception of the work is the cause.
    """
    watch = partial(StallWatch, threads) if pending.is_withdrawable else None
    cancellation = await _wait_shielded(pending, caught, watch) or caught
    if not pending.ended and not pending.withdraw():
        cancellation = await _wait_shielded(pending, cancellation) or cancellation
    raise cancellation from _cause_of(pending)


def _cause_of(pending: PendingResult[Any]) -> BaseException | None:
    """The exception of work, but for one that only says that it was withdrawn."""
    return None if isinstance(pending.error, StalledError) else pending.error


def prefer_cancellation(cancellation: asyncio.CancelledError | None, error: BaseException) -> None:
    """Raise a cancellation received while `error` was handled, instead of `error`.

    asyncio does the same.
    """
    if cancellation is not None and isinstance(error, Exception):
        raise cancellation from error


async def run_shielded_in_thread(
    threads: DaemonThreads,
    function: Callable[..., object],
    *args: Any,  # noqa: ANN401
    if_stalled: Literal["wait", "withdraw", "leave"] = "wait",
) -> asyncio.CancelledError | None:
    """Call a function in one of `threads` for certain, and wait for its end.

    If its thread ends in the midst of the call, it is called again in this thread.

    Args:
        threads: The threads.
        function: The function.
        args: Its arguments.
        if_stalled: What becomes of the call where the task is cancelled and the threads are
            stalled. "withdraw": it is dropped if no thread has begun it. One that has begun ends
            early if it only waits for a store out of reach. "leave": it is not waited for.

    Returns:
        The first cancellation that came meanwhile, for the caller to raise.

    Raises:
        StalledError: The call was withdrawn.
        AbandonedCallError: The task was cancelled, and the call of "withdraw" runs on.
    """
    item = WorkItem(function, args, asyncio.get_running_loop())
    watch = None if if_stalled == "wait" else partial(StallWatch, threads)
    try:
        threads.put(item)
        cancellation = await _wait_shielded(item, None, watch)
        if not item.ended and if_stalled == "leave":
            item.give_up()
        elif not item.ended and not item.withdraw():
            cancellation = await _wait_shielded(item, cancellation) or cancellation
    except BaseException as error:
        if not item.drop():
            item.give_up()
            item.join()
            raise
        if isinstance(error, NoThreadError):
            function(*args)
            return None
        with giving_up_after(stall_seconds()):
            function(*args)
        raise
    if not item.ended or (item.abandoned and item.is_running):
        if if_stalled == "withdraw":
            raise AbandonedCallError if item.is_running else StalledError(cancellation)
        return cancellation
    if isinstance(item.error, StalledError):
        raise StalledError(cancellation) from None
    if item.drop() or isinstance(item.error, NoThreadError):  # Its thread has ended.
        function(*args)
    else:
        item.outcome()
    return cancellation


async def finish_before_cancelling(
    work: Coroutine[Any, Any, _Result],
    caught: asyncio.CancelledError | None = None,
    watch: Callable[[], Watch] | None = None,
) -> _Result:
    """Await a coroutine in the current context to its end, and only then raise a cancellation.

    Args:
        work: The coroutine.
        caught: A cancellation that was caught before, to be raised at the end.
        watch: Makes the watch that says when the cancellation reaches `work`. By default never.

    Raises:
        asyncio.CancelledError: The waiting task was cancelled. The exception of `work` is the
            cause.
        AbandonedCallError: The same, and a call of `work` runs on.
    """
    task = task_in_own_context(work)
    try:
        if caught is None:
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as cancellation:
                caught = cancellation
        if caught is not None:
            caught = await _wait_out(_waiting(task), task.done, caught, watch) or caught
            if not task.done():
                task.cancel()
                caught = await _wait_out(_waiting(task), task.done, caught) or caught
    except GeneratorExit:
        work.close()  # It may not have started, and no loop will start it.
        raise
    if caught is None:
        return task.result()
    if not task.cancelled():
        raise caught from task.exception()
    raise _abandoned_call(task) or caught from None


def _abandoned_call(task: asyncio.Task[Any]) -> AbandonedCallError | None:
    """The exception of a cancelled task, if it is one of a call that runs on."""
    try:
        task.result()
    except AbandonedCallError as abandoned:
        return abandoned
    except asyncio.CancelledError:
        pass
    return None


async def shield(work: Coroutine[Any, Any, object]) -> asyncio.CancelledError | None:
    """Await a coroutine in the current context to its end, through every cancellation.

    Returns:
        The first cancellation by `Task.cancel()` that came meanwhile, for the caller to raise.
    """
    task = task_in_own_context(work)
    try:
        cancellation = await _wait_out(_waiting(task), task.done)
    except GeneratorExit:
        work.close()
        raise
    task.result()
    return cancellation


async def _wait_shielded(
    pending: PendingResult[Any],
    caught: asyncio.CancelledError | None = None,
    watch: Callable[[], Watch] | None = None,
) -> asyncio.CancelledError | None:
    def wait_once(seconds: float | None) -> Awaitable[object]:
        future = pending.wait_again()
        return future if seconds is None else asyncio.wait([future], timeout=seconds)

    return await _wait_out(wait_once, lambda: pending.ended, caught, watch)


def _waiting(task: asyncio.Task[Any]) -> Callable[[float | None], Awaitable[object]]:
    return lambda seconds: asyncio.wait([task], timeout=seconds)


async def _wait_out(
    wait_once: Callable[[float | None], Awaitable[object]],
    done: Callable[[], bool],
    caught: asyncio.CancelledError | None = None,
    watch: Callable[[], Watch] | None = None,
) -> asyncio.CancelledError | None:
    """Wait until `done`, and return the first cancellation by `Task.cancel()`.

    Cancellations of anyio scopes are not returned, because anyio raises them again.

    Args:
        wait_once: Awaits the end, at most so many seconds. It may be cancelled.
        done: Whether the end has come.
        caught: A cancellation that was caught before.
        watch: Makes the watch that says when a cancelled task waits no more. By default it does.
    """
    native = None if _scope_cancels() else caught
    scoped = caught if native is None else None
    task, watching, seconds = asyncio.current_task(), None, None
    while not done():
        # No scope unless it is needed: a task abandoned inside a scope is never collected.
        shielded = scoped is not None
        # A cancellation that came before counts as well: the task tidies up.
        if watch is not None and (shielded or native or (task and task.cancelling())):
            watching = watching or watch()
            if not (seconds := watching.seconds_left()):
                break
        try:
            with anyio.CancelScope(shield=True) if shielded else contextlib.nullcontext():
                await wait_once(seconds)
        except asyncio.CancelledError as cancellation:
            if shielded or not _scope_cancels():
                native = native or cancellation
            else:
                scoped = cancellation
    if native is not None and scoped is not None:
        # anyio recognises by this context that its scope was cancelled as well.
        native.__context__ = scoped
    return native


def gives_up_at_once(threads: DaemonThreads) -> bool:
    """Whether the current task is cancelled, and its store was found to be stalled before."""
    task = asyncio.current_task()
    is_cancelled = _scope_cancels() or (task is not None and task.cancelling() > 0)
    return is_cancelled and not StallWatch(threads).seconds_left()


def _scope_cancels() -> bool:
    return anyio.current_effective_deadline() == -math.inf
