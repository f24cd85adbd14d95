"""The executors of the steps of a flow: those given, those made by functions, and processes.

What a function has made, and the processes, belong to the flow: they are closed with it, and made
anew at the next use.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import BrokenExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from aiocheckpoint._concurrency import forks
from aiocheckpoint._concurrency.renewed_executor import RenewedExecutor, tells_begin
from aiocheckpoint._concurrency.sent_calls import SUBMITTING, ExecutorCall
from aiocheckpoint._concurrency.work_items import WorkItem
from aiocheckpoint.errors import ExecutorError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from concurrent.futures import Executor, Future

    from aiocheckpoint._concurrency.call_pools import CallPool, PoolCall
    from aiocheckpoint._concurrency.process_pool import ProcessPool
    from aiocheckpoint._concurrency.step_threads import StepThreads
    from aiocheckpoint._concurrency.work_items import Threads

    Given = Executor | Callable[[], Executor] | Literal["process"]

__all__ = ["ExecutorPools"]


class ExecutorPools:
    """The pools of one flow, one for each executor that its steps name."""

    def __init__(self) -> None:
        self._pools: dict[int | str, tuple[object, CallPool]] = {}

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle nothing: a copied flow has pools of its own."""
        return type(self), ()

    def of(self, given: Given) -> CallPool:
        """Give the pool of an executor as a step names it."""
        key = given if isinstance(given, str) else id(given)
        found = self._pools.get(key)
        if found is None:
            pool = _OwnProcesses() if isinstance(given, str) else _GivenExecutor(given)
            found = self._pools.setdefault(key, (given, pool))  # It is held, as its id is the key.
        return found[1]

    @property
    def are_used(self) -> bool:
        """Whether a step has named an executor."""
        return bool(self._pools)

    def close(self) -> None:
        """Close what belongs to the flow, blocking."""
        for _, pool in list(self._pools.values()):
            pool.close()


class _OwnProcesses:
    """Processes of the library's own. See `CallPool` for the methods."""

    pickles_by_name = True

    def __init__(self) -> None:
        self.renews = True
        self.is_cold = False  # Its processes are started in the threads of the calls.
        self._pool: ProcessPool | None = None
        self._process: object = forks.process
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        pass

    def note_break(self) -> None:
        pass

    def item(
        self, call: PoolCall, loop: asyncio.AbstractEventLoop, step_threads: StepThreads
    ) -> tuple[Threads, WorkItem[Any]]:
        # Imported here because most flows have no such step.
        from aiocheckpoint._concurrency.process_pool import process_count  # noqa: PLC0415

        return step_threads.of_processes(process_count()), WorkItem(self.call_here, (call,), loop)

    def call_here(self, call: PoolCall) -> Any:  # noqa: ANN401
        return self._taken().call(call.function, call.argument, call.seconds)

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None and self._process is forks.process:
            pool.close()

    def _taken(self) -> ProcessPool:
        from aiocheckpoint._concurrency.process_pool import ProcessPool  # noqa: PLC0415 - as above

        if self._process is not forks.process:  # Those of the parent are none of this process.
            self._pool, self._process, self._lock = None, forks.process, threading.Lock()
        with self._lock:
            if self._pool is None:
                self._pool = ProcessPool()
            return self._pool


class _GivenExecutor:
    """An executor that a user has given, or gives by a function. See `CallPool` for the methods.

    Args:
        given: The executor or the function.
    """

    def __init__(self, given: Executor | Callable[[], Executor]) -> None:
        self._executor = RenewedExecutor(given)
        self.renews = self._executor.renews
        self._warm: tuple[object, Executor | None] = forks.process, None

    @property
    def is_cold(self) -> bool:
        process, warm = self._warm
        found = self._executor.current
        return warm is None or warm is not found or process is not forks.process

    @property
    def pickles_by_name(self) -> bool:
        # Who has such an executor has imported the module.
        module = sys.modules.get("concurrent.futures.process")
        return module is not None and isinstance(self._executor.current, module.ProcessPoolExecutor)

    def warm_up(self) -> None:
        renewed = self._executor
        executor = renewed.take()
        try:
            renewed.submit(executor, _do_nothing, None)
        except (BrokenExecutor, ExecutorError):
            if not renewed.renews:
                raise
            renewed.drop(executor)
            executor = renewed.take()
            renewed.submit(executor, _do_nothing, None)
        self._warm = forks.process, executor

    def note_break(self) -> None:
        self._warm = forks.process, None

    def item(
        self,
        call: PoolCall,
        loop: asyncio.AbstractEventLoop,
        step_threads: StepThreads,
    ) -> tuple[Threads, WorkItem[Any]]:
        if call.apart and self.renews:
            return step_threads, WorkItem(self._call_apart, (call,), loop)
        item = self._item(call, loop)
        step_threads.note_sent(item)
        return SUBMITTING, item

    def call_here(self, call: PoolCall) -> Any:  # noqa: ANN401
        if call.apart and self.renews:
            return self._call_apart(call)
        return self._item(call, None).result_here()

    def close(self) -> None:
        self._executor.close(wait=False)  # A step that hangs there must not keep the flow.

    def _item(self, call: PoolCall, loop: asyncio.AbstractEventLoop | None) -> ExecutorCall:
        tells = tells_begin(self._executor.take())
        return ExecutorCall(partial(self._submit, call), loop, tells_begin=tells)

    def _submit(self, call: PoolCall) -> Future[Any]:
        renewed = self._executor
        try:
            return renewed.submit(renewed.take(), call.function, call.argument)
        except ExecutorError as error:
            if not self.renews:
                raise
            raise BrokenExecutor(error.problem) from error  # It is replaced beside the loop.

    def _call_apart(self, call: PoolCall) -> Any:  # noqa: ANN401
        """Make an executor for one call, and wait for the end of the call."""
        executor = self._executor.made()
        try:
            return self._executor.submit(executor, call.function, call.argument).result()
        finally:
            if executor is not self._executor.current:
                executor.shutdown(wait=False)


def _do_nothing(_: object) -> None:
    """What a new executor calls first."""
