"""A queued function call, and the future of its result."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aiocheckpoint._concurrency.giving_up import StoreCall
from aiocheckpoint._concurrency.pending_results import PendingResult

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["SubmittedItem", "Threads", "WorkItem"]

_Result = TypeVar("_Result")
_CALLER = 0
"""The claim of a caller. That of a thread is its ident, which is never 0."""


class WorkItem(PendingResult[_Result]):
    """A call of a function in a thread.

    A thread claims the item before the call, and a caller that gives up claims it to drop the call.
    The first claim counts, so a queued item never runs after its caller has gone.

    The lock of a running call is no danger to signal handlers and finalizers: `join` waits for it
    only in another thread than the one that runs the call.

    Args:
        function: The function.
        args: Its arguments.
        loop: The running loop, or None if no task waits for the item itself.

    Attributes:
        abandoned: Whether a cancelled task no longer waits for the end of the function.
    """

    __slots__ = ("_args", "_claim", "_is_cancelled", "_running_lock", "abandoned")

    def __init__(
        self,
        function: Callable[..., _Result],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        super().__init__(function, loop)
        self.abandoned: bool = False
        self._is_cancelled = False
        self._args = args
        # setdefault() is atomic, so Ctrl-C never leaves a claim without its owner.
        self._claim: dict[None, int] = {}
        self._running_lock = threading.Lock()
        self._running_lock.acquire()

    @property
    def is_running(self) -> bool:
        """Whether a thread has begun the call and not ended it."""
        return bool(self._claim.get(None)) and self._running_lock.locked()

    def drop(self) -> bool:
        """Keep the function from being called. Give False if a thread has claimed it already."""
        dropped = self._claim.setdefault(None, _CALLER) == _CALLER
        if dropped:
            self._args = ()  # The item itself may stay in a queue for long.
        return dropped

    def withdraw(self) -> bool:
        """Drop the item, or let a running call of a store end early if it only waits.

        Returns:
            Whether it was dropped.
        """
        self.give_up()
        return self.drop()

    def give_up(self, seconds: float = 0.0) -> None:
        """Let the call of a store on another machine end early, if it only waits."""
        if isinstance(self.request, StoreCall):
            self.request.give_up(seconds)

    def call(self) -> None:
        """Call the function, unless the item was dropped."""
        ident = get_ident()
        if self._claim.setdefault(None, ident) != ident:
            return
        try:
            self.result: _Result = self.request(*self._args)
        except BaseException as error:  # noqa: BLE001 - raised again where the item is awaited
            self.error: BaseException | None = error
        finally:
            self._args = ()  # The caller may change the arguments as soon as the call is over.
            self._running_lock.release()
            del self  # The traceback of the exception holds this frame.

    def fail(self, error: BaseException, ended: int | None) -> bool:
        """End the item in place of a thread that has ended. `drop` tells if it was never called.

        May be called again after an exception.

        Args:
            error: What the caller gets, unless the call has a result.
            ended: The ident of the thread. None where none was started.

        Returns:
            Whether the item is over. False if another thread runs it.
        """
        if self._claim.setdefault(None, _CALLER) not in {_CALLER, ended}:
            return False
        if self._running_lock.locked():
            self.error = error
            self._args = ()
            self._running_lock.release()
        self.deliver()
        return True

    def deliver(self) -> None:
        """Wake the caller, from the thread that called the function.

        The loop wakes at once and needs the GIL, so the thread should have nothing left to do.
        """
        if self.loop is not None:
            try:  # noqa: SIM105 - suppress() takes 0.5 µs of each hop to a thread
                self.loop.call_soon_threadsafe(self.wake)
            except RuntimeError:
                pass  # The loop may be closed by now.

    def join(self) -> None:
        """Block this thread until a claimed call is over.

        A garbage collection inside the function may collect the coroutine that awaits it. The
        thread must not wait for itself then.
        """
        if self._claim.get(None) != get_ident() and not self.abandoned:
            with self._running_lock:
                pass

    def wait_again(self) -> asyncio.Future[None]:
        self._is_cancelled = True
        return super().wait_again()

    def abandon(self) -> None:
        """Let the waiting task be cancelled without the end of the function."""
        self.abandoned = True
        if self.loop is not None:
            with contextlib.suppress(RuntimeError):  # The loop may be closed by now.
                self.loop.call_soon_threadsafe(self._finish_abandoned)

    def _finish_abandoned(self) -> None:
        if self._is_cancelled:
            self.wake()
        self.ended = True


class SubmittedItem(WorkItem[None]):
    """A call whose result goes into a future of `concurrent.futures`.

    Args:
        function: The function.
        args: Its arguments.
        kwargs: Its keyword arguments.

    Attributes:
        submitted: The future.
    """

    __slots__ = ("_function", "submitted")

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__(_fulfil, (self, function, args, kwargs), None)
        self._function = function
        self.submitted: Future[Any] = Future()

    def give_up(self, seconds: float = 0.0) -> None:
        if isinstance(self._function, StoreCall):
            self._function.give_up(seconds)

    def deliver(self) -> None:
        if self.error is not None and not self.submitted.done():
            self.submitted.set_exception(self.error)


def _fulfil(
    item: SubmittedItem,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    try:
        if item.submitted.set_running_or_notify_cancel():
            item.submitted.set_result(function(*args, **kwargs))
    finally:
        del item  # It holds the exception, whose traceback holds this frame.


class Threads(Protocol):
    """Threads that take work items."""

    def put(self, item: WorkItem[Any], /) -> None:
        """Let a thread run an item.

        Raises:
            NoThreadError: No thread can be started. The caller drops the item.
        """
        ...
