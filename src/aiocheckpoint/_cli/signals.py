"""Work on an event loop that ends in good order at SIGINT and SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager, suppress
from functools import partial
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
        with _kept_handlers():
            return asyncio.run(self._main(work))

    async def _main(self, work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        task = asyncio.ensure_future(work())
        with _handled(self._hear, partial(self._stop, task)):
            try:
                return await task
            finally:
                for drain in self._drains:
                    drain.cancel()

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        """Note a signal, in the main thread. The loop answers it, unless a coroutine blocks it."""
        self.received.append(signal.Signals(number))
        if self._answered < len(self.received) - 1:
            raise KeyboardInterrupt

    def _stop(self, task: asyncio.Future[Any], number: signal.Signals) -> None:
        """Stop the work, on its loop, at the first signal or at a further one."""
        self._answered += 1
        if task.done():
            return
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
def _kept_handlers() -> Generator[None, None, None]:
    """Restore the handlers of signals behind a loop.

    A step that raises SystemExit ends the loop before its tasks. What they clean up behind it is
    a handler of the loop that has ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.getsignal(one) for one in _SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def _handled(
    hear: Callable[[int, FrameType | None], None], stop: Callable[[signal.Signals], None]
) -> Generator[None, None, None]:
    """Call functions at each signal. One that the process ignores stays ignored.

    The system may deliver a signal in any thread. The loop's file descriptor then wakes the main
    thread, in which alone Python calls handlers.

    Args:
        hear: Called in the main thread between any two of its instructions.
        stop: Called on the running loop.
    """
    is_main = threading.current_thread() is threading.main_thread()
    heard = [one for one in _SIGNALS if is_main and signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.getsignal(one) for one in heard}
    loop = asyncio.get_running_loop()
    try:
        for one in heard:
            _handle(loop, one, hear, stop)
        yield
    finally:
        for one, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(one)
            signal.signal(one, handler)


def _handle(
    loop: asyncio.AbstractEventLoop,
    number: signal.Signals,
    hear: Callable[[int, FrameType | None], None],
    stop: Callable[[signal.Signals], None],
) -> None:
    def hear_and_wake(raw: int, frame: FrameType | None) -> None:
        hear(raw, frame)
        loop.call_soon_threadsafe(stop, number)

    try:
        loop.add_signal_handler(number, stop, number)
    except NotImplementedError:  # On Windows, whose loop wakes at each signal by itself.
        signal.signal(number, hear_and_wake)
    else:
        signal.signal(number, hear)  # The loop still hears of it by its file descriptor.
