"""Emits the events of a run: to the log, and to the hooks."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

from aiocheckpoint._logging import is_logged, log_event, logger
from aiocheckpoint._model.pause import Pause
from aiocheckpoint.events import RunStarted, SnapshotSkipped, StepFinished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._concurrency.backends import Backend
    from aiocheckpoint.events import Event, Hook

__all__ = ["EventDispatcher"]

_WARNINGS: frozenset[type[Event]] = frozenset({RunStarted, SnapshotSkipped, StepFinished})
"""Events that may be logged at WARNING."""


class EventDispatcher:
    """Emits the events of one run.

    Args:
        flow: Name of the flow.
        run_id: The run's id, or None.
        hooks: Callables that are called with each event.
        backend: Calls the hooks.

    Attributes:
        enabled: Whether events other than warnings reach a hook or the log. If not, the engine
            skips them, because each one costs time in every step.
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

    async def emit(self, kind: type[Event], **facts: Any) -> None:  # noqa: ANN401
        """Log an event and call the hooks with it. A hook that raises is logged.

        Args:
            kind: The class of the event.
            facts: Its attributes, without those of `Event`.
        """
        if not (self._hooks or is_logged() or kind in _WARNINGS):
            return
        event = kind(flow=self._flow, run_id=self._run_id, number=self.number, **facts)
        log_event(event)
        for hook in self._hooks:
            before = self._backend.cancellations()
            try:
                await self._backend.executor.call_hook(hook, event)
            except (Exception, CancelledError, Pause) as error:
                if isinstance(error, CancelledError) and self._backend.cancellations() > before:
                    raise  # The run was cancelled, not the hook by itself.
                name = kind.__name__
                logger.exception("a hook raised an exception on %s. The run continues.", name)
