"""A run as those see it that follow it from other threads, in place of hearing each event."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocheckpoint._engine.context import RunContext
    from aiocheckpoint._model.followers import StepFacts
    from aiocheckpoint._model.header import Header

__all__ = ["LiveFacts"]


class LiveFacts:
    """A run in progress. Behind its end it holds nothing of the run but the last header.

    Args:
        context: The run.
    """

    def __init__(self, context: RunContext) -> None:
        self._context: RunContext | None = context
        self._flow, self._run_id = context.settings.flow, context.run_id
        self._stored: Header | None = None

    @property
    def flow(self) -> str:
        """Name of the flow."""
        return self._flow

    @property
    def run_id(self) -> str | None:
        """The run's id, or None."""
        return self._run_id

    @property
    def stored(self) -> Header | None:
        """The header that is stored. None where there is none."""
        context = self._context
        return self._stored if context is None else context.run_store.header

    @property
    def step(self) -> StepFacts | None:
        """The step that the run is in, or None."""
        context = self._context
        return None if context is None else context.active_run.progress

    def end(self) -> None:
        """Note the end of the run."""
        self._stored, self._context = self.stored, None
