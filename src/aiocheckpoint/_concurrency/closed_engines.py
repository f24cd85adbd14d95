"""Calls that are never answered, because the engine was closed under them.

The executor of Dask never answers a call whose result it was fetching when the scheduler died. Its
client closes itself behind that. One thread of this process looks for closed clients.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import CancelledError, InvalidStateError
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiocheckpoint._concurrency.lone_thread import LoneThread

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

__all__ = ["fail_when_closed"]

_SECONDS = 1.0
_CLOSED = frozenset({"closed", "closing"})


def fail_when_closed(executor: Executor, future: Future[Any]) -> None:
    """Let a call fail as one that others have cancelled, once the client of its executor is closed.

    Args:
        executor: The executor. Where it has no client with a status, as that of Dask has, nothing
            is done.
        future: The call.
    """
    client: Any = getattr(executor, "_client", None)
    if isinstance(getattr(client, "status", None), str):
        _watch.add(client, future)


class _Watch:
    """Looks for calls that are unanswered at two looks behind the closing of their client."""

    def __init__(self) -> None:
        self._clients: dict[Future[Any], Any] = {}
        self._suspects: set[Future[Any]] = set()
        self._thread = LoneThread("aiocheckpoint-engines", self._turn, lambda: self._clients)

    def add(self, client: Any, future: Future[Any]) -> None:  # noqa: ANN401 - of an engine
        self._clients[future] = client
        future.add_done_callback(self._forget)
        if not self._thread.living:
            self._thread.start()

    def _forget(self, future: Future[Any]) -> None:
        self._clients.pop(future, None)

    def _turn(self) -> None:
        time.sleep(_SECONDS)
        closed = {one for one, client in list(self._clients.items()) if client.status in _CLOSED}
        for future in closed & self._suspects:
            # No `cancel`: the executor would ask the closed client to cancel the task.
            with suppress(InvalidStateError):
                future.set_exception(CancelledError("the client of its engine is closed"))
        self._suspects = closed


_watch = _Watch()


def _reset_after_fork() -> None:
    """Forget the thread, which the child has not, and the calls, which are the parent's."""
    global _watch  # noqa: PLW0603 - one for each process
    _watch = _Watch()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
