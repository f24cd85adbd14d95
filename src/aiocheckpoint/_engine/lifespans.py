"""The lifespans of a flow in one process: each ends with a drain, and the next one opens it."""

from __future__ import annotations

import asyncio
import weakref

from aiocheckpoint._concurrency import forks
from aiocheckpoint._concurrency.loops import is_gone
from aiocheckpoint._engine.active_runs import ActiveRuns
from aiocheckpoint.errors import InvalidValueError

__all__ = ["Lifespans"]


class Lifespans:
    """Has the active runs of the present lifespan, and begins the next one.

    A run belongs to the lifespan that it began in. One that a drain left in a step stops behind
    it, also where the flow was opened again meanwhile. A copied or pickled flow, and that of a
    forked child, begin with a lifespan of their own.

    Args:
        flow: Name of the flow.
        threads: How many sync functions of the flow run at once on one event loop.
    """

    def __init__(self, flow: str, threads: int) -> None:
        self._flow, self._threads = flow, threads
        self._begin()

    def __reduce__(self) -> tuple[object, ...]:
        """Copy and pickle the settings alone."""
        return type(self), (self._flow, self._threads)

    def _begin(self) -> None:
        self._active_runs = ActiveRuns(self._flow, self._threads)
        self._open: dict[None, _Opening] = {}
        self._process: object = forks.process

    @property
    def active_runs(self) -> ActiveRuns:
        """The active runs of the present lifespan."""
        if self._process is not forks.process:
            self._begin()  # The parent's runs are none of this process.
        return self._active_runs

    def open(self) -> bool:
        """Let a block of the running loop open the flow. After a drain, `renew` opens it for runs.

        Returns:
            Whether it is drained.

        Raises:
            InvalidValueError: It is open, on a loop that is not closed.
        """
        active_runs, mine = self.active_runs, _Opening(asyncio.get_running_loop())
        while (other := self._open.setdefault(None, mine)) is not mine:
            if other.is_alive:
                raise InvalidValueError(
                    f"the flow {self._flow!r} is open: another `async with` block of it has not "
                    "ended. Use one block around all that runs it, or a flow object of its own "
                    "for each."
                )
            if self._open.get(None) is other:
                self._open.clear()
        return active_runs.drain_requested

    def renew(self) -> None:
        """Begin the next lifespan."""
        self._active_runs = ActiveRuns(self._flow, self._threads)

    def close(self) -> None:
        """End the block that has opened the flow."""
        self._open.clear()


class _Opening:
    """A block that has opened a flow. The loop of a block that never ended may be closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)

    @property
    def is_alive(self) -> bool:
        """Whether its loop can still end it."""
        return not is_gone(self._loop)
