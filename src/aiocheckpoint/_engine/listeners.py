"""Listeners of the events of all runs of a flow in this process, such as displays and `watch`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from aiocheckpoint._concurrency import forks
from aiocheckpoint._concurrency.copies import copied
from aiocheckpoint.events import Event

__all__ = ["Listener", "Listeners"]

Listener: TypeAlias = Callable[[Event], None]
"""A function that is called with each event, in the thread in which it happens.

It is quick, works in any thread, and waits for nothing. What it raises is logged.
"""


class Listeners:
    """The listeners of a flow. They come and go at any time, also in the midst of a run.

    There is no lock, because a signal handler or a finalizer may add or remove one as well. Each
    change is one operation of a dict. A copied flow shares them. A pickled one, and that of
    a forked child, have none.

    Attributes:
        known: The listeners, in the order in which they came. This dict is never replaced.
    """

    def __init__(self) -> None:
        self._process = forks.process
        self.known: dict[Listener, None] = {}

    def __reduce__(self) -> tuple[object, ...]:
        """A pickled flow has no listeners."""
        return type(self), ()

    @property
    def current(self) -> tuple[Listener, ...]:
        """Those that hear the next event."""
        if self._process is not forks.process:
            return ()
        return tuple(copied(self.known))

    def add(self, listener: Listener) -> None:
        """Call `listener` with all events from now on."""
        if self._process is not forks.process:
            self.known.clear()
            self._process = forks.process
        self.known[listener] = None

    def remove(self, listener: Listener) -> None:
        """Call `listener` no more. It may be gone already."""
        self.known.pop(listener, None)
