"""Results that one thread makes for many callers, such as the SQLite writer by group commit.

A caller is a task on an event loop or a blocked thread. The thread that makes the results wakes
each loop once for all of its tasks.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

__all__ = ["PendingResult", "deliver"]

_Result = TypeVar("_Result")


class PendingResult(Generic[_Result]):
    """A result that one caller waits for.

    Args:
        request: What another thread carries out: a request, or a function to call.
        loop: The running loop, whose task awaits the result. None for a caller that blocks its
            thread in `wait`.

    Attributes:
        request: The request or function.
        loop: The loop.
        future: The task awaits it. `wait_again` replaces it.
        ended: Whether the work has ended and the caller was woken.
        error: The exception that the work raised, or None.
        result: The result, valid once the work has ended without an exception.
        is_withdrawable: Whether `withdraw` can keep the request from being carried out.
    """

    is_withdrawable: ClassVar[bool] = False

    __slots__ = ("_blocked", "ended", "error", "future", "loop", "request", "result")

    def __init__(self, request: Any, loop: asyncio.AbstractEventLoop | None) -> None:  # noqa: ANN401
        self.request: Any = request
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.ended: bool = False
        self.error: BaseException | None = None
        self.result: _Result = cast("_Result", None)
        if loop is None:
            self._blocked = threading.Lock()
            self._blocked.acquire()
        else:
            self.future: asyncio.Future[None] = loop.create_future()

    def wait_again(self) -> asyncio.Future[None]:
        """Give a future to await after a cancelled wait. Called on the loop."""
        if self.future.done() and not self.ended and self.loop is not None:
            self.future = self.loop.create_future()
        return self.future

    def wait(self) -> _Result:
        """Block the thread until the work has ended. Give its result or raise its exception.

        Ctrl-C is raised only after the end, so that nothing is written late. A request that can be
        withdrawn is waited for a second.
        """
        try:
            self._block()
        except BaseException:
            self._settle_interrupted()
            raise
        return self.outcome()

    def wait_at_most(self, seconds: float) -> bool:
        """Block the thread for at most so long, and return whether the work has ended."""
        ended = self._blocked.acquire(timeout=seconds)
        if ended:
            self._blocked.release()
        return ended

    @property
    def is_taken(self) -> bool:
        """Whether the request was taken, and not given back."""
        return False

    def take(self) -> bool:
        """Take the request, right before it is sent. False where it was withdrawn, and has ended.

        Called by the thread that carries it out. A request that was taken before stays taken.
        """
        return True

    def give_back(self) -> None:
        """Note that a request that was taken was surely not sent. Called as `take` is."""

    def drop_if_unwanted(self) -> bool:
        """End a request whose caller waits in vain, unless it is taken. Called as `take` is."""
        return False

    def withdraw(self) -> bool:
        """Keep the request from being carried out. False where that may have begun, or has ended.

        A request that is given back later is dropped then.
        """
        return False

    def end_wait(self) -> None:
        """End the wait of the task, whether or not the work has ended. Called on the loop."""
        if not self.future.done():
            self.future.set_result(None)

    def outcome(self) -> _Result:
        """Give the result of work that has ended, or raise its exception."""
        if self.error is not None:
            try:
                raise self.error
            finally:
                del self  # The traceback of the exception holds this frame.
        return self.result

    def wake(self) -> None:
        """Wake the caller. Called on its loop, or in any thread if the caller blocks one."""
        self.ended = True
        if self.loop is None:
            self._blocked.release()
        elif not self.future.done():
            self.future.set_result(None)

    def _settle_interrupted(self) -> None:
        """Wait for the end, or withdraw the request, after Ctrl-C or another exception."""
        self._block()

    def _block(self) -> None:
        if not self.ended:
            with self._blocked:
                pass


def deliver(results: Iterable[PendingResult[Any]]) -> None:
    """Wake the callers of these results, each loop once. Called in the thread that made them."""
    by_loop: dict[asyncio.AbstractEventLoop, list[PendingResult[Any]]] = {}
    for pending in results:
        if pending.loop is None:
            pending.wake()
        else:
            by_loop.setdefault(pending.loop, []).append(pending)
    for loop, waiting in by_loop.items():
        with contextlib.suppress(RuntimeError):  # The loop was closed, and no task waits.
            loop.call_soon_threadsafe(_wake_all, waiting)


def _wake_all(waiting: list[PendingResult[Any]]) -> None:
    for pending in waiting:
        pending.wake()
