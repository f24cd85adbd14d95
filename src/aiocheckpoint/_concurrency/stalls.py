"""Threads that are stalled: their calls do not return, as where a disk or a server hangs.

A cancelled run waits for its turn in the threads of its store, because the record of its end is
worth the wait. It does not wait for ever: where the threads are stalled, a call that none of them
has begun is withdrawn.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from aiocheckpoint._concurrency.giving_up import stall_seconds

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from aiocheckpoint._concurrency.daemon_threads import DaemonThreads
    from aiocheckpoint._concurrency.step_threads import StepThreads

__all__ = [
    "DrainWatch",
    "StallWatch",
    "StalledError",
    "Watch",
    "abandon_if_stalled",
]

_LOOKS = 20


class StalledError(Exception):
    """A call was withdrawn, because its task is cancelled and no thread would begin it.

    Args:
        cancellation: A cancellation that came during the call, for the caller to raise.
    """

    def __init__(self, cancellation: asyncio.CancelledError | None) -> None:
        super().__init__("the store does not answer, and the run was cancelled")
        self.cancellation = cancellation


class Watch(Protocol):
    """Says how long a cancelled task waits for the end of its work."""

    def seconds_left(self) -> float:
        """Look, and give the seconds until the next look. 0 where the wait is over."""
        ...


class DrainWatch:
    """Watches whether a drain has given up the calls of a flow, a second before.

    Args:
        threads: The threads of the flow, which know.
    """

    def __init__(self, threads: StepThreads) -> None:
        self._threads = threads
        self._since: float | None = None

    def seconds_left(self) -> float:
        """Look, and give the seconds until the next look. 0 where the wait is over."""
        if not self._threads.abandoned:
            return stall_seconds()
        now = time.monotonic()
        if self._since is None:
            self._since = now
        return max(self._since + stall_seconds() - now, 0.0)


class StallWatch:
    """Watches threads for which a call waits.

    Args:
        threads: The threads.
    """

    def __init__(self, threads: DaemonThreads) -> None:
        self._threads = threads
        self._seen = threads.progress
        self._since = time.monotonic()

    def seconds_left(self) -> float:
        """Look, and give the seconds until the threads count as stalled, 0 where they do."""
        ended, now = self._threads.progress, time.monotonic()
        if self._threads.stalled_at == ended:  # Another watch has found it out.
            return 0.0
        if ended != self._seen:
            self._seen, self._since = ended, now
        left = self._since + stall_seconds() - now
        if left <= 0:
            self._threads.stalled_at = ended
        return max(left, 0.0)


async def abandon_if_stalled(
    threads: DaemonThreads, sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Give up the begun calls if none ends within a second. Neither drain nor exit waits for them.

    Args:
        threads: The threads, of a store whose runs do not end.
        sleep: Waits so many seconds, on the running loop or in this thread.
    """
    ended = threads.progress
    for _ in range(_LOOKS):
        if not threads.is_busy or threads.progress != ended:
            return
        await sleep(stall_seconds() / _LOOKS)
    if threads.progress == ended:
        threads.abandon_begun()
