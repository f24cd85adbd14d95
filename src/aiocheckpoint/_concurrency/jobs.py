"""Work that another thread does for many who wait, told to each event loop in one call.

A job belongs to whoever waits for it: a task on an event loop, or a blocked thread. What ends jobs
ends many at once, and wakes each loop once, which then wakes its tasks a few at a time, so that a
thousand of them do not keep it from everything else.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

__all__ = ["PendingResult", "deliver"]

_Result = TypeVar("_Result")
_AT_ONCE = 64


class PendingResult(Generic[_Result]):
    """What one caller waits for.

    Args:
        work: What is to be done, as the one who does it takes it.
        loop: The loop whose task awaits it, which is the running one; None for a caller that
            blocks its thread in `wait`.

    Attributes:
        work: As it was given.
        loop: As it was given.
        future: What the task awaits; made anew by `again`.
        ended: Whether it has ended, and its loop was told.
        error: What it failed with, or None.
        result: What it gave; only to be read where it ended without an error.
    """

    __slots__ = ("_gate", "ended", "error", "future", "loop", "result", "work")

    def __init__(self, work: Any, loop: asyncio.AbstractEventLoop | None) -> None:  # noqa: ANN401
        self.work: Any = work
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.ended: bool = False
        self.error: BaseException | None = None
        self.result: _Result = cast("_Result", None)
        if loop is None:
            self._gate = threading.Lock()
            self._gate.acquire()
        else:
            self.future: asyncio.Future[None] = loop.create_future()

    @property
    def answered(self) -> bool:
        """Whether a result or an error was set."""
        return self.result is not None or self.error is not None

    def again(self) -> asyncio.Future[None]:
        """Give something to await after a wait was cancelled; called on the loop."""
        if self.future.done() and not self.ended and self.loop is not None:
            self.future = self.loop.create_future()
        return self.future

    def wait(self) -> _Result:
        """Block the thread until it has ended, and give its result, or raise its error.

        Interrupted by Ctrl-C, it waits all the same, so that nothing is written late.
        """
        try:
            self._pass()
        except BaseException:
            self._pass()
            raise
        return self.outcome()

    def outcome(self) -> _Result:
        """Give the result of a job that has ended, or raise its error."""
        if self.error is not None:
            try:
                raise self.error
            finally:
                del self  # The error's traceback holds this frame.
        return self.result

    def tell(self) -> None:
        """Wake the one who waits; called in its own loop, or in any thread where it blocks one."""
        self.ended = True
        if self.loop is None:
            self._gate.release()
        elif not self.future.done():
            self.future.set_result(None)

    def _pass(self) -> None:
        if not self.ended:
            with self._gate:
                pass


def deliver(jobs: Iterable[PendingResult[Any]]) -> None:
    """Tell those who wait that their jobs have ended, from the thread that ended them."""
    by_loop: dict[asyncio.AbstractEventLoop, deque[PendingResult[Any]]] = {}
    for job in jobs:
        if job.loop is None:
            job.tell()
        else:
            by_loop.setdefault(job.loop, deque()).append(job)
    for loop, waiting in by_loop.items():
        with contextlib.suppress(RuntimeError):  # it was closed, and nobody waits there any more
            loop.call_soon_threadsafe(_wake_some, loop, waiting)


def _wake_some(loop: asyncio.AbstractEventLoop, waiting: deque[PendingResult[Any]]) -> None:
    for _ in range(min(_AT_ONCE, len(waiting))):
        waiting.popleft().tell()
    if waiting:
        loop.call_soon(_wake_some, loop, waiting)
