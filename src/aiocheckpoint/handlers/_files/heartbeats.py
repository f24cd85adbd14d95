"""The heartbeats of a process: one thread renews the lock files of all runs that it owns."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from aiocheckpoint._logging import NOWHERE, log
from aiocheckpoint.errors import NoThreadError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["start_beating", "stop_beating"]

_TICKS_PER_BEAT = 4
_SECONDS_WITHOUT_MEMORY = 0.1


class _Beating(Protocol):
    def beat(self) -> None: ...

    def forget_parent(self) -> None: ...


@dataclass
class _Rhythm:
    """A lock, its seconds between two beats, and the time of the next one."""

    lock: _Beating
    every: float
    due: float


class _Heart:
    """The thread, and the locks that it renews. No lock guards them: each step is one operation.

    Attributes:
        beating: The rhythms by the ids of their locks.
        thread: The thread, None where none runs.
    """

    def __init__(self) -> None:
        self.beating: dict[int, _Rhythm] = {}
        self.thread: threading.Thread | None = None
        self.wake: SimpleQueue[None] = SimpleQueue()  # Its `put` may be interrupted by itself.

    def start(self) -> None:
        """Start the thread, unless it runs."""
        if self.thread is not None and self.thread.is_alive():
            self.wake.put(None)
            return
        thread = threading.Thread(target=self._run, name="aiocheckpoint-heartbeat", daemon=True)
        self.thread = thread
        try:
            thread.start()
        except RuntimeError as error:
            self.thread = None
            raise NoThreadError(
                "the lock file cannot be renewed: no thread can be started. Raise the limit of "
                "processes and threads ('ulimit -u') or of memory, and run again."
            ) from error

    def _run(self) -> None:
        while self.beating or not self._ended():
            try:
                self._beat()
                self._pause()
            except MemoryError:  # Its end would end the leases of all runs.
                time.sleep(_SECONDS_WITHOUT_MEMORY)

    def _ended(self) -> bool:
        """End the thread, unless a lock came just now and found it alive."""
        self.thread = None
        if not self.beating:
            return True
        self.thread = threading.current_thread()
        return False

    def _pause(self) -> None:
        seconds = [rhythm.every for rhythm in list(self.beating.values())]
        with suppress(Empty):
            self.wake.get(timeout=min(seconds, default=0.0) / _TICKS_PER_BEAT)

    def _beat(self) -> None:
        for rhythm in list(self.beating.values()):
            if time.monotonic() >= rhythm.due:
                _renew(rhythm.lock)
                rhythm.due = time.monotonic() + rhythm.every


def _renew(lock: _Beating) -> None:
    """Renew one lock. Its error ends the heartbeats of no other."""
    try:
        lock.beat()
    except Exception as error:  # noqa: BLE001 - logged
        with suppress(Exception):  # A log's filter may raise as well.
            words = "a heartbeat of %r failed, and is repeated"
            log(logging.ERROR, NOWHERE, words, lock, error=error)


_heart = _Heart()


def start_beating(lock: _Beating, seconds: float) -> None:
    """Renew a lock every so many seconds, from a thread, until `stop_beating`.

    Raises:
        NoThreadError: The thread cannot be started.
    """
    _heart.beating[id(lock)] = _Rhythm(lock, seconds, time.monotonic() + seconds)
    _heart.start()


def stop_beating(lock: _Beating) -> None:
    """Renew a lock no more."""
    if _heart.beating.pop(id(lock), None) is not None:
        _heart.wake.put(None)


def _after_fork_in_child() -> None:
    """Close the parent's lock files. The child has no thread, and owns nothing."""
    global _heart
    parent, _heart = _heart, _Heart()
    for rhythm in parent.beating.values():
        rhythm.lock.forget_parent()


_register: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _register is not None:
    _register(after_in_child=_after_fork_in_child)
