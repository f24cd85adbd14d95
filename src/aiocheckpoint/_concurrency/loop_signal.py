"""A signal to event loops, from any thread."""

from __future__ import annotations

import asyncio
import weakref
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._concurrency import forks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["LoopSignal"]


class LoopSignal:
    """Calls back on the loops that listen to it.

    There is no lock, because a signal handler may notify as well. A forked child has no listeners.
    """

    def __init__(self) -> None:
        self._process = forks.process
        self._callbacks: dict[weakref.ref[Callable[[], object]], None] = {}

    def __reduce__(self) -> tuple[object, ...]:
        """A copied or pickled flow has no listeners."""
        return type(self), ()

    @contextmanager
    def listening(
        self, callback: Callable[[], object], check: Callable[[], object] | None = None
    ) -> Generator[None, None, None]:
        """Call `callback` on the running loop at each `notify` while the block is executed.

        Args:
            callback: It is held weakly, through its loop.
            check: Called before the block, once no `notify` can be missed. What it raises keeps
                the block from being executed.
        """
        if self._process is not forks.process:
            self._process, self._callbacks = forks.process, {}
        # The loop is held by this frame alone: it may be closed, and dropped, under the block.
        call = partial(asyncio.get_running_loop().call_soon_threadsafe, callback)
        reference: weakref.ref[Callable[[], object]] = weakref.ref(call)
        self._callbacks[reference] = None
        try:
            if check is not None:
                check()
            yield
        finally:
            self._callbacks.pop(reference, None)

    def notify(self) -> None:
        """Call back. In any thread, also where nobody listens."""
        if self._process is not forks.process:
            return
        for reference in list(self._callbacks):
            call = reference()
            if call is None:
                self._callbacks.pop(reference, None)
                continue
            with suppress(RuntimeError):  # That loop was closed.
                call()
