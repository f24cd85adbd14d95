"""Work on an event loop that ends in good order at SIGINT and SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import FrameType

    from aiocheckpoint import CheckpointFlow

__all__ = ["Stoppable"]

_Result = TypeVar("_Result")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DRAINS = "Ends behind the steps in progress. A second signal cancels them."
_CANCELS = "Cancels the step in progress. A second signal does not wait for it."


class Stoppable:
    """Work of a flow that signals stop.

    The first signal drains the flow, so that runs stop behind their steps, or cancels the work. A
    further one cancels the work as well, and no longer waits for a sync step that hangs.

    Args:
        flow: The flow whose runs are in progress.
        say: Says a sentence to the person.
        cancels: The signals that cancel at once, and do not drain first.

    Attributes:
        flow: The flow.
        received: The signals that came, in order.
    """

    def __init__(
        self,
        flow: CheckpointFlow[Any],
        say: Callable[[str], None],
        cancels: frozenset[signal.Signals] = frozenset(),
    ) -> None:
        self.flow = flow
        self.received: list[signal.Signals] = []
        self._say, self._cancels = say, cancels
        self._answered = 0
        self._drains: set[asyncio.Task[Any]] = set()

    @property
    def is_draining(self) -> bool:
        """Whether the flow has begun to drain."""
        return bool(self._drains)

    @property
    def exit_code(self) -> int | None:
        """The exit code by the first signal, or None where none came."""
        return 128 + self.received[0] if self.received else None

    def drain(self) -> None:
        """Drain the flow, on the loop of the work, as a signal does."""
        if not self.is_draining:
            self._start(self.flow.adrain())

    def run(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """Do the work on a loop of its own. Signals are heard in the main thread.

        Raises:
            asyncio.CancelledError: A signal has cancelled it.
            KeyboardInterrupt: The same, where a coroutine has held up the loop.
            BaseException: What the work raises.
        """
        return asyncio.run(self._main(work))

    async def _main(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        task, loop = asyncio.ensure_future(work()), asyncio.get_running_loop()

        def hear(number: int, _frame: FrameType | None) -> None:
            self.received.append(signal.Signals(number))
            if self._answered < len(self.received) - 1:
                raise KeyboardInterrupt  # A coroutine blocks the loop, and has this thread.
            loop.call_soon_threadsafe(self._stop, task)

        with _heard_by(hear):
            try:
                return await task
            finally:
                for drain in self._drains:
                    drain.cancel()

    def _stop(self, task: asyncio.Future[Any]) -> None:
        """Stop the work, at the first signal or at a further one."""
        number = self.received[self._answered]
        self._answered += 1
        if self._answered > 1:
            task.cancel()
            self._start(self.flow.adrain(timeout=0.0))
            return
        cancels = number in self._cancels
        self._say(_CANCELS if cancels else _DRAINS)
        if cancels:
            task.cancel()
        else:
            self._start(self.flow.adrain())

    def _start(self, drain: Coroutine[Any, Any, object]) -> None:
        self._drains.add(asyncio.ensure_future(drain))


@contextmanager
def _heard_by(hear: Callable[[int, FrameType | None], None]) -> Generator[None, None, None]:
    """Call a function at each signal. One that the process ignores stays ignored."""
    heard = [one for one in _SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        heard = []
    before = {one: signal.signal(one, hear) for one in heard}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
