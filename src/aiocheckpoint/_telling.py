"""Tells what happens in a run to the log and to the hooks."""

from __future__ import annotations

from asyncio import CancelledError
from typing import TYPE_CHECKING, Any

from aiocheckpoint._logging import is_logged, log_event, logger
from aiocheckpoint._pause import Pause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint import events
    from aiocheckpoint._calls import Calls

__all__ = ["Teller"]


class Teller:
    """Tells the events of one run.

    Args:
        flow: Name of the flow.
        run_id: The run's id, or None.
        hooks: Are told.
        calls: How they are called.

    Attributes:
        heard: Whether more than surprises has a hearer; else other events need not be told, which
            costs time in every step.
        number: The run number.
    """

    def __init__(
        self, flow: str, run_id: str | None, hooks: Sequence[events.Hook], calls: Calls
    ) -> None:
        self.heard = bool(hooks) or is_logged()
        self.number = 0
        self._flow, self._run_id = flow, run_id
        self._hooks = hooks
        self._calls = calls

    async def tell(self, kind: type[events.Event], **facts: Any) -> None:  # noqa: ANN401
        """Make an event and tell it; what a hook raises is logged."""
        event = kind(flow=self._flow, run_id=self._run_id, number=self.number, **facts)
        log_event(event)
        for hook in self._hooks:
            before = self._calls.cancellations()
            try:
                await self._calls.finish(hook(event))
            except (Exception, CancelledError, Pause) as error:
                if isinstance(error, CancelledError) and self._calls.cancellations() > before:
                    raise  # the run was cancelled, not the hook by itself
                logger.exception("a hook failed on %s; the run goes on", kind.__name__)
