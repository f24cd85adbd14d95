"""Threads that carry out the requests of many callers, and what a fork or an exit does to them."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from aiocheckpoint._concurrency.pending_results import PendingResult
from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Close",
    "RequestQueue",
    "RequestWriter",
    "is_writer",
    "join_stopped",
    "mark_writer",
    "pending_closes",
]


class Close(NamedTuple):
    """Close and end, or if `if_unused` is set, only where the processor is not in use."""

    if_unused: bool


class RequestQueue(Protocol):
    """The queue of a writer, and the thread that serves it.

    It has no reference to the writer. An unused writer is collected, and its finalizer stops the
    thread.

    Attributes:
        is_used: Whether there is something to close.
    """

    is_used: bool

    def put(self, pending: PendingResult[Any]) -> None:
        """Queue a request, as `RequestWriter.put` does."""

    def is_here(self) -> bool:
        """Whether this is the thread."""
        ...


class _StartsOver(Protocol):
    def reset_after_fork(self) -> None:
        """Start over in a forked child, which has no writer thread."""


_Queue = TypeVar("_Queue", bound=RequestQueue)


class RequestWriter(Generic[_Queue]):
    """A thread that carries out requests.

    It is started by the first request, and anew after `stop`, a failure or a fork.

    Args:
        processor: Carries out the requests.
        make_queue: Makes the queue, anew in a forked child.
    """

    def __init__(self, processor: _StartsOver, make_queue: Callable[[], _Queue]) -> None:
        self._processor = processor
        self._make_queue = make_queue
        self._requests = make_queue()
        _all.add(self)

    def put(self, pending: PendingResult[Any]) -> None:
        """Queue a request.

        Raises:
            RuntimeError: No thread can be started. The request will not be done.
        """
        self._requests.put(pending)

    def stop(self, *, wait: bool, if_unused: bool = False) -> None:
        """Let the thread close and end, after the requests queued so far.

        Args:
            wait: Whether to wait for that.
            if_unused: Whether it goes on if the processor is in use then.
        """
        requests = self._requests
        if not requests.is_used:
            return
        pending: PendingResult[None] = PendingResult(Close(if_unused), None)
        pending_closes.add(pending)
        try:
            requests.put(pending)
        except RuntimeError:  # At the end of the interpreter, which ends the thread as well.
            pending_closes.discard(pending)
            return
        if wait and not requests.is_here():
            with suppress(CheckpointError):
                pending.wait()

    def reset_after_fork(self) -> None:
        """Start over in a forked child."""
        self._requests = self._make_queue()
        self._processor.reset_after_fork()


class _Here(threading.local):
    """Whether this is a writer thread. Its name would take three calls, for each request."""

    is_writer = False


_here = _Here()
_all: weakref.WeakSet[RequestWriter[Any]] = weakref.WeakSet()
pending_closes: set[PendingResult[None]] = set()
"""Requests to close that were not carried out yet."""


def mark_writer() -> None:
    """Make the current thread a writer thread."""
    _here.is_writer = True


def is_writer() -> bool:
    """Whether this is a writer thread, which must not wait for a writer."""
    return _here.is_writer


def join_stopped() -> None:
    """Wait until all that was to be closed is closed."""
    for pending in list(pending_closes):
        with suppress(CheckpointError):
            pending.wait()


def _reset_all() -> None:
    pending_closes.clear()
    for writer in list(_all):
        writer.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
