"""A queued function call, and the future of its result."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aiocheckpoint._concurrency.pending_results import PendingResult

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Threads", "WorkItem"]

_Result = TypeVar("_Result")


class WorkItem(PendingResult[_Result]):
    """A call of a function in a thread.

    A thread claims the item before the call, and a caller that gives up claims it to drop the call.
    The first claim counts, so a queued item never runs after its caller has gone.

    Args:
        function: The function.
        args: Its arguments.
        loop: The running loop, or None if no task waits for the item itself.

    Attributes:
        abandoned: Whether a cancelled task no longer waits for the end of the function.
    """

    __slots__ = ("_args", "_claim", "_is_cancelled", "_running_lock", "_thread", "abandoned")

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
        self._claim: dict[None, str] = {}
        self._thread = 0
        self._running_lock = threading.Lock()
        self._running_lock.acquire()

    @property
    def is_running(self) -> bool:
        """Whether a thread has begun the call and not ended it."""
        return self._claim.get(None) == "thread" and self._running_lock.locked()

    def drop(self) -> bool:
        """Keep the function from being called. Give False if a thread has claimed it already."""
        dropped = self._claim.setdefault(None, "caller") == "caller"
        if dropped:
            self._args = ()  # The item itself may stay in a queue for long.
        return dropped

    def call(self) -> None:
        """Call the function, unless the item was dropped."""
        if self._claim.setdefault(None, "thread") != "thread":
            return
        try:
            self._thread = threading.get_ident()
            self.result: _Result = self.request(*self._args)
        except BaseException as error:  # noqa: BLE001 - raised again where the item is awaited
            self.error: BaseException | None = error
        finally:
            self._args = ()  # The caller may change the arguments as soon as the call is over.
            self._running_lock.release()
            del self  # The traceback of the exception holds this frame.

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
        if self._thread != threading.get_ident() and not self.abandoned:
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


class Threads(Protocol):
    """Threads that take work items."""

    def put(self, item: WorkItem[Any], /) -> None:
        """Let a thread run an item.

        Raises:
            RuntimeError: No thread can be started. The caller drops the item.
        """
        ...
