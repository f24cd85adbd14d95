"""Which threads carry out requests, and what a fork or an exit does to them."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from aiocheckpoint.errors import CheckpointError

if TYPE_CHECKING:
    from aiocheckpoint._concurrency.pending_results import PendingResult

__all__ = [
    "RequestWriter",
    "follow_forks",
    "is_writer",
    "join_stopped",
    "mark_writer",
    "pending_closes",
]


class RequestWriter(Protocol):
    """A thread that carries out requests: a `Writer`, or one with a loop."""

    def put(self, pending: PendingResult[Any]) -> None:
        """Queue a request, or raise RuntimeError if no thread can be started."""

    def stop(self, *, wait: bool, if_unused: bool = False) -> None:
        """Let the thread close and end, after the requests queued so far."""

    def reset_after_fork(self) -> None:
        """Start over in a forked child."""


class _Here(threading.local):
    """Whether this is a writer thread. Its name would take three calls, for each request."""

    is_writer = False


_here = _Here()
_all: weakref.WeakSet[RequestWriter] = weakref.WeakSet()
pending_closes: set[PendingResult[None]] = set()
"""Requests to close that were not carried out yet."""


def follow_forks(writer: RequestWriter) -> None:
    """Let a writer start over in forked children."""
    _all.add(writer)


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
