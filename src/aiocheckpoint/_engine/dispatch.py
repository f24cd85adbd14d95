"""Tells what happens in a run to the log and to the hooks."""

from __future__ import annotations

import importlib
from asyncio import CancelledError
from typing import TYPE_CHECKING, Any, Final, Literal

from aiocheckpoint._logging import is_logged, log_event, logger
from aiocheckpoint._model.pause import Pause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint.events import Hook

__all__ = ["EVENTS", "EventDispatcher", "EventName"]

EVENTS: Final = "aiocheckpoint.events"
"""The module with the classes of events, to be imported before there is a hook.

It takes milliseconds, in which an event loop would stand still, and what a failure needs.
"""

EventName = Literal[
    "AttemptFailed",
    "RunFinished",
    "RunStarted",
    "SnapshotSkipped",
    "SnapshotWritten",
    "StepFailed",
    "StepFinished",
    "StepLoaded",
    "StepPaused",
    "StepStarted",
]
"""Name of the class of an event."""


class EventDispatcher:
    """Tells the events of one run.

    Args:
        flow: Name of the flow.
        run_id: The run's id, or None.
        hooks: Are told.
        backend: How they are called.

    Attributes:
        heard: Whether more than surprises has a hearer; else other events need not be told, which
            costs time in every step.
        number: The run number.
    """

    def __init__(
        self, flow: str, run_id: str | None, hooks: Sequence[Hook], backend: Backend
    ) -> None:
        self.enabled = bool(hooks) or is_logged()
        self.number = 0
        self._flow, self._run_id = flow, run_id
        self._hooks = hooks
        self._backend = backend

    async def emit(self, kind: EventName, **facts: Any) -> None:  # noqa: ANN401
        """Tell an event, which is made where there are hooks; what one of them raises is logged."""
        facts["number"] = self.number
        log_event(kind, self._flow, self._run_id, facts)
        if not self._hooks:
            return
        made = getattr(importlib.import_module(EVENTS), kind)
        event = made(flow=self._flow, run_id=self._run_id, **facts)
        for hook in self._hooks:
            before = self._backend.cancellations()
            try:
                await self._backend.executor.finish(hook(event))
            except (Exception, CancelledError, Pause) as error:
                if isinstance(error, CancelledError) and self._backend.cancellations() > before:
                    raise  # the run was cancelled, not the hook by itself
                logger.exception("a hook failed on %s; the run goes on", kind)
