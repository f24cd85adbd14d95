"""The public methods that draw a flow, or a run of it."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._display.diagram import (
    Diagram,
    DiagramFormat,
    checked_format,
    diagram_of_flow,
    diagram_of_run,
)
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.flow_methods import FlowMethods
from aiocheckpoint.errors import RunNotFoundError, StorageError
from aiocheckpoint.handlers._identifiers import checked_run_id

if TYPE_CHECKING:
    from aiocheckpoint._runs.core import FlowCore
    from aiocheckpoint.look import RunView

__all__ = ["FlowDiagrams"]


class FlowDiagrams(FlowMethods[StateT]):
    """Draws a flow, or a run of it."""

    def diagram(
        self,
        format: DiagramFormat = "svg",  # noqa: A002 - the word of Matplotlib and pandas
        run_id: str | None = None,
    ) -> Diagram:
        """Draw the flow: its steps with loaders, savers and limits. Nothing is executed.

        With `run_id`, a stored run is drawn: what each step has come to, and where the run stands.

        Args:
            format: What notebooks and `print` show: "svg", "mermaid" or "text". The diagram has all
                three.
            run_id: The run. By default the flow is drawn, and no store is looked at.

        Returns:
            The diagram. Its bytes depend on the flow, and with `run_id` on the stored run, alone.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid. Or `run_id` is given, and
                the handler is a user's own class, which stores one state.
            RunNotFoundError: Nothing is stored of the run.
            StorageError: The store cannot be read.
        """
        return _draw(self._core, checked_format(format), checked_run_id(run_id))

    async def adiagram(
        self,
        format: DiagramFormat = "svg",  # noqa: A002 - as in `diagram`
        run_id: str | None = None,
    ) -> Diagram:
        """Draw the flow, as `diagram` does, without blocking the event loop."""
        draw = partial(_draw, self._core, checked_format(format), checked_run_id(run_id))
        if run_id is None:
            return draw()
        return await (await self._core.reading_backend()).read(draw)


def _draw(core: FlowCore, format: DiagramFormat, run_id: str | None) -> Diagram:  # noqa: A002
    from aiocheckpoint._display.diagram_steps import of_steps  # noqa: PLC0415 - few draw

    steps = of_steps(core.registry.steps)
    if run_id is None:
        return diagram_of_flow(core.settings.flow, steps, format=format)
    return diagram_of_run(_stored_run(core, run_id), steps, format)


def _stored_run(core: FlowCore, run_id: str) -> RunView:
    from aiocheckpoint.look import store_of  # noqa: PLC0415 - few draw

    handler = core.snapshot_handler()
    try:
        with store_of(handler) as store:
            return store.run(run_id, flow=core.settings.flow)
    except StorageError as error:
        if error.errno != errno.ENOENT:
            raise
        raise RunNotFoundError(handler.locate(run_id), "draw") from None
