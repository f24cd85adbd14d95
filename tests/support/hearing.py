"""Listeners of the events of a flow, as displays are."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiocheckpoint.events import Event, StepEvent, StepProgressed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from aiocheckpoint import CheckpointFlow
    from aiocheckpoint._engine.listeners import Listeners
    from aiocheckpoint._runs.core import FlowCore

PATIENCE = 20.0


@dataclass(eq=False)
class Hearing:
    """Notes each event, and the thread in which it was told."""

    events: list[Event] = field(default_factory=list[Event])
    threads: list[str] = field(default_factory=list[str])
    done: threading.Event = field(default_factory=threading.Event)
    awaited: float | None = None

    def __call__(self, event: Event) -> None:
        """Note an event, and whether it is the progress that is waited for."""
        self.events.append(event)
        self.threads.append(threading.current_thread().name)
        if isinstance(event, StepProgressed) and event.done == self.awaited:
            self.done.set()

    @property
    def progress(self) -> list[float]:
        """The amounts that were told."""
        return [event.done for event in self.events if isinstance(event, StepProgressed)]

    @property
    def words(self) -> list[str]:
        """The events in short words, without snapshots."""
        return [word_of(event) for event in self.events if "Snapshot" not in type(event).__name__]

    def thread_of(self, word: str) -> str:
        """The thread in which the event of these words was told."""
        pairs = zip(self.events, self.threads, strict=True)
        return next(thread for event, thread in pairs if word_of(event) == word)


def word_of(event: Event) -> str:
    """Put one event into short words."""
    if isinstance(event, StepProgressed):
        return f"{event.step} {event.done:g}"
    kind = type(event).__name__
    return f"{kind} {event.step}" if isinstance(event, StepEvent) else kind


def core_of(cp: CheckpointFlow) -> FlowCore:
    """Give the core of a flow."""
    core: FlowCore = vars(cp)["_core"]
    return core


def listeners_of(cp: CheckpointFlow) -> Listeners:
    """Give the listeners of a flow."""
    return core_of(cp).settings.listeners


@contextmanager
def heard(cp: CheckpointFlow, hear: Callable[[Event], None] | None = None) -> Generator[Hearing]:
    """Let a listener hear all events of a flow in a block."""
    hearing = Hearing()
    listener: Any = hear or hearing
    listeners_of(cp).add(listener)
    try:
        yield hearing
    finally:
        listeners_of(cp).remove(listener)
