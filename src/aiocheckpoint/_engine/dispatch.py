"""Emits the events of a run: to the log, and to the hooks."""

from __future__ import annotations

import logging
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._event_log import log_event
from aiocheckpoint._logging import is_logged, log, place_of
from aiocheckpoint._model.termination import ENDS_OF_STEPS
from aiocheckpoint._tracebacks import drop_frames_of_engine
from aiocheckpoint.events import (
    AttemptFailed,
    RunStarted,
    RunTerminated,
    SnapshotSkipped,
    StepFailed,
    StepFinished,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint.events import Event, Hook

__all__ = ["EventDispatcher"]

_Event = TypeVar("_Event", bound="Event")

_WARNINGS: frozenset[type[Event]] = frozenset(
    {AttemptFailed, RunStarted, RunTerminated, SnapshotSkipped, StepFailed, StepFinished}
)
"""Events that may be logged at WARNING or ERROR."""

_ENDS: frozenset[type[Event]] = frozenset({RunTerminated, StepFailed})
"""Events of exceptions that end a run."""


class EventDispatcher:
    """Emits the events of one run.

    Args:
        flow: Name of the flow.
        run_id: The run's id, or None.
        hooks: Callables that are called with each event.
        backend: Calls the hooks.
        unattended: Whether no caller gets the exception of the run.

    Attributes:
        enabled: Whether events other than warnings reach a hook or the log. If not, the engine
            skips them, because each one costs time in every step.
        number: The run number.
        end_emitted: Whether the event of an exception that ends the run was emitted.
    """

    def __init__(
        self,
        flow: str,
        run_id: str | None,
        hooks: Sequence[Hook],
        backend: Backend,
        *,
        unattended: bool = False,
    ) -> None:
        self.enabled = bool(hooks) or is_logged()
        self.number = 0
        self.end_emitted = False
        self._flow, self._run_id = flow, run_id
        self._hooks = hooks
        self._backend = backend
        self._unattended = unattended

    def make(self, kind: type[_Event], **facts: Any) -> _Event:  # noqa: ANN401
        """Make an event from its class and its attributes, without those of `Event`."""
        return kind(flow=self._flow, run_id=self._run_id, number=self.number, **facts)

    async def emit(self, kind: type[Event], **facts: Any) -> None:  # noqa: ANN401
        """Log an event and call the hooks with it. A hook that raises is logged.

        Args:
            kind: The class of the event.
            facts: Its attributes, without those of `Event`.
        """
        if kind in _ENDS:
            self.end_emitted = True
        if not (self._hooks or is_logged() or kind in _WARNINGS):
            return
        await self.send(self.make(kind, **facts))

    async def send(self, event: Event) -> None:
        """Log an event that is made already, and call the hooks with it."""
        log_event(event, unattended=self._unattended)
        for hook in self._hooks:
            before = self._backend.cancellations()
            try:
                await self._backend.executor.call_hook(hook, event)
            except (Exception, CancelledError, *ENDS_OF_STEPS) as error:
                if isinstance(error, CancelledError) and self._backend.cancellations() > before:
                    raise  # The run was cancelled, not the hook by itself.
                drop_frames_of_engine(error)
                place = place_of(self._flow, self._run_id)
                words = "a hook raised an exception on %s. The run continues."
                log(logging.ERROR, place, words, type(event).__name__, error=error)
