"""The public methods that draw a flow, or a run of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from aiocheckpoint._display.diagrams.diagram import (
    Diagram,
    DiagramFormat,
    checked_format,
    diagram_of_flow,
    diagram_of_run,
)
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.flow_methods import FlowMethods
from aiocheckpoint._runs.looking import make_look

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocheckpoint._runs.core import FlowCore

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
        return _drawing(self._core, format, run_id)()

    async def adiagram(
        self,
        format: DiagramFormat = "svg",  # noqa: A002 - as in `diagram`
        run_id: str | None = None,
    ) -> Diagram:
        """Draw the flow, as `diagram` does, without blocking the event loop."""
        draw = _drawing(self._core, format, run_id)
        if run_id is None:
            return draw()
        return await (await self._core.reading_backend()).read(draw)


def _drawing(core: FlowCore, format: object, run_id: str | None) -> Callable[[], Diagram]:  # noqa: A002
    """Check the arguments of `diagram`, and make the function that draws."""
    from aiocheckpoint._display.diagrams.diagram_steps import of_steps  # noqa: PLC0415 - few draw

    chosen, steps = checked_format(format), of_steps(core.registry.steps)
    if run_id is None:
        return partial(diagram_of_flow, core.settings.flow, steps, format=chosen)
    look = make_look(core, run_id, "draw")
    return lambda: diagram_of_run(look(), steps, chosen)
