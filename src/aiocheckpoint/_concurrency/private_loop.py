"""The event loop on which `run` runs coroutines."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["PrivateLoop"]

_Result = TypeVar("_Result")


class PrivateLoop:
    """One loop for all coroutines of a run, made at the first of them.

    It runs in the caller's thread. Where that thread is already inside a loop, as in a notebook,
    asyncio allows no second one, and it runs in a thread of its own while the caller waits.
    """

    def __init__(self) -> None:
        # With a factory the runner leaves the thread's current event loop alone.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._thread: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[Any] | None = None
        if _inside_loop():
            # The same moment asks for a loop, which takes more memory and descriptors than this.
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

            self._thread = ThreadPoolExecutor(1, thread_name_prefix="aiocheckpoint-loop")

    def run(self, awaitable: Awaitable[_Result]) -> _Result:
        """Run `awaitable` to its end and return its result, in a copy of the caller's context."""
        context = contextvars.copy_context()
        run = partial(self._runner.run, self._main(awaitable), context=context)
        if self._thread is None:
            return run()
        job = self._thread.submit(run)
        try:
            return job.result()
        except BaseException:
            if not job.done():  # Ctrl-C reached the waiting thread, not the coroutine.
                self._runner.get_loop().call_soon_threadsafe(self._cancel)
                wait([job])
            raise

    def close(self) -> None:
        """Cancel what the coroutines left running, and close the loop."""
        if self._thread is None:
            self._runner.close()
            return
        with self._thread:
            self._thread.submit(self._runner.close).result()

    async def _main(self, awaitable: Awaitable[_Result]) -> _Result:
        self._task = asyncio.current_task()
        return await awaitable

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _inside_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
