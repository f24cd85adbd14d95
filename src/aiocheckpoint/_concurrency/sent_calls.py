"""Calls that an executor of `concurrent.futures` carries out."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.work_items import WorkItem

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["SUBMITTING", "ExecutorCall"]


class ExecutorCall(WorkItem[Any]):
    """A call that is submitted to an executor, and awaited as one in a thread is.

    Args:
        submit: Submits it, and gives the future. It raises what `Executor.submit` does.
        loop: The running loop, or None for a thread that waits in `wait`.
        tells_begin: Whether the executor's futures tell when a call has begun. Where they do not, a
            call is never withdrawn.
    """

    __slots__ = ("__weakref__", "_dropped", "_submitted", "_tells_begin")

    def __init__(
        self,
        submit: Callable[[], Future[Any]],
        loop: asyncio.AbstractEventLoop | None,
        *,
        tells_begin: bool,
    ) -> None:
        super().__init__(submit, (), loop)
        self._submitted: Future[Any] | None = None
        self._tells_begin = tells_begin
        self._dropped = False

    def begin(self) -> None:
        """Submit the call."""
        self._submitted = submitted = self.request()
        submitted.add_done_callback(self._take)

    @property
    def is_running(self) -> bool:
        return self._submitted is not None and not self._submitted.done()

    def drop(self) -> bool:
        if self._dropped or self._submitted is None:
            self._dropped = True
        elif self._tells_begin and not self._submitted.done():
            self._dropped = True  # Before the callback of the cancelled future is called.
            self._dropped = self._submitted.cancel()
        return self._dropped

    def join(self) -> None:
        if self._submitted is not None and not self.abandoned:
            wait([self._submitted])

    def result_here(self) -> Any:  # noqa: ANN401
        """Submit the call, and block this thread until it has ended.

        Ctrl-C withdraws it, or waits for its end. Another Ctrl-C ends that wait.
        """
        self._submitted = submitted = self.request()
        try:
            return submitted.result()
        except BaseException:
            if not submitted.done() and not self.drop():
                self.join()
            raise

    def _take(self, submitted: Future[Any]) -> None:
        """Take the end of the call over, in a thread of the executor."""
        if self._dropped and submitted.cancelled():
            return
        try:
            self.result: Any = submitted.result()
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            self.error: BaseException | None = error
        finally:
            self.deliver()
            del self, submitted


class _Submitting:
    """Takes calls as threads do, and lets each submit itself to its executor."""

    def put(self, item: WorkItem[Any], /) -> None:
        if isinstance(item, ExecutorCall):
            item.begin()


SUBMITTING = _Submitting()
