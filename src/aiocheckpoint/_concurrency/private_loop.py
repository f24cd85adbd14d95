"""The event loop on which `run` runs coroutines."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._concurrency.contexts import MirroredContext
from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint._tracebacks import calls_user_code
from aiocheckpoint.errors import NoThreadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    from aiocheckpoint._concurrency.interrupters import LoopInterrupter

__all__ = ["PrivateLoop"]

_Result = TypeVar("_Result")


class PrivateLoop:
    """One loop for all coroutines of a run, made for the first of them.

    The loop runs in the caller's thread. If a loop is already running there, as in a notebook,
    asyncio allows no second one. The private loop then has a thread of its own, and the caller
    waits. This is no `ThreadPoolExecutor`: a signal handler that calls `run` may have come in the
    midst of the locks that all executors share.

    Attributes:
        running_loop: The loop while it runs a coroutine, else None.
    """

    def __init__(self, interrupter: LoopInterrupter) -> None:
        self.running_loop: asyncio.AbstractEventLoop | None = None
        self._interrupter = interrupter
        # With a factory the runner leaves the thread's current event loop alone.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._thread: DaemonThreads | None = None
        self._task: asyncio.Task[Any] | None = None
        self._context = MirroredContext()
        if _loop_here() is not None:
            self._thread = DaemonThreads("aiocheckpoint-loop", 1)

    @property
    def is_running_here(self) -> bool:
        """Whether it runs a coroutine in this thread, which may await others."""
        return self.running_loop is not None and _loop_here() is self.running_loop

    def run(self, awaitable: Awaitable[_Result]) -> _Result:
        """Run `awaitable` to its end and return its result, with the caller's context variables.

        What it sets is set for the caller afterwards.

        Raises:
            NoThreadError: The loop needs a thread, and none can be started.
        """
        return self._context.call(partial(self._run, awaitable))

    def _run(self, awaitable: Awaitable[_Result], context: Context) -> _Result:
        run = partial(self._runner.run, self._main(awaitable), context=context)
        if self._thread is None:
            return run()
        return _call(self._thread, run, on_interrupt=self._interrupt)

    def close(self) -> None:
        """Cancel the tasks that the coroutines left running, and close the loop."""
        if self._thread is None:
            try:
                _restart_lost_tasks(self._runner.get_loop())
            finally:
                self._runner.close()
            return
        try:
            _call(self._thread, self._runner.close)
        except NoThreadError:
            self._runner.close()  # It has run nothing.
        finally:
            self._thread.shutdown()

    def _interrupt(self) -> None:
        self._runner.get_loop().call_soon_threadsafe(self._cancel)

    @calls_user_code
    async def _main(self, awaitable: Awaitable[_Result]) -> _Result:
        self._task = asyncio.current_task()
        self._interrupter.begin()
        self.running_loop = asyncio.get_running_loop()
        try:
            return await awaitable
        finally:
            self.running_loop = None

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _call(
    thread: DaemonThreads,
    function: Callable[[], _Result],
    on_interrupt: Callable[[], object] = lambda: None,
) -> _Result:
    """Call a function in a thread and wait for it, through Ctrl-C as well."""
    item = WorkItem(function, (), None)
    try:
        thread.put(item)
        item.join()
    except BaseException:
        if not item.drop():
            if item.is_running:
                on_interrupt()
            item.join()
        raise
    return item.outcome()


def _restart_lost_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Continue in new tasks the coroutines that the loop would never resume.

    A second Ctrl-C raises KeyboardInterrupt in the loop itself. It may come after the loop has
    taken the next step of a task from its queue, and before it executes it. `asyncio.Runner.close`
    would wait for this task for ever.
    """
    ready = {task: _reason_to_resume(task) for task in asyncio.all_tasks(loop)}
    if not any(ready.values()):
        return
    loop.run_until_complete(asyncio.sleep(0))  # Executes the steps that are still in the queue.
    for task, reason in ready.items():
        if reason is not None and not task.done() and _reason_to_resume(task) is reason:
            # Otherwise `asyncio.Runner.close` would wait for the lost task. There is no public call
            # for this. Tried in Python 3.11.7, 3.12.1 and 3.13.0.
            asyncio.tasks._unregister_task(task)  # noqa: SLF001
            task._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001
            loop.create_task(task.get_coro())


def _reason_to_resume(task: asyncio.Task[Any]) -> object:
    """The reason for a step of a task in the queue of its loop. None where it waits.

    Without a step in the queue, it is lost.
    """
    coroutine = task.get_coro()
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == "CORO_CREATED":
        return coroutine
    waits_for: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    return waits_for if waits_for is not None and waits_for.done() else None


def _loop_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
