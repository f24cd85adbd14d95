"""The displays of progress of the calls of a flow."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiocheckpoint._display.live.choosing import make_display
from aiocheckpoint._display.live.displays import Closing, DisplaySubject, listener_of, mark_shown
from aiocheckpoint._runs.arguments import checked_progress
from aiocheckpoint._runs.descriptions import location_of
from aiocheckpoint._tracebacks import shortened_traceback
from aiocheckpoint.events import RunFinished
from aiocheckpoint.handlers._registry import moves_snapshots

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiocheckpoint._display.live.displays import Display
    from aiocheckpoint._engine.listeners import Listener
    from aiocheckpoint._model.followers import Follower
    from aiocheckpoint._model.run_result import RunResult
    from aiocheckpoint._runs.core import FlowCore

__all__ = ["RunsDisplay", "display_run"]

_Result = TypeVar("_Result")


def display_run(core: FlowCore, progress: object, run_id: str | None) -> Closing:
    """Give the block in which a run is shown as `progress=` says, with another one inside it.

    Raises:
        InvalidTypeError, InvalidValueError: It is none of the words.
    """
    word = checked_progress(progress) or core.progress
    shown = partial(_shown, core, run_id, many=False)
    return Closing(make_display(word, shown, core.settings.flow))


class RunsDisplay:
    """The display of many runs of one call. Where nothing is shown, it does nothing.

    Args:
        core: The core of the flow.
        progress: The word.
        runs: The runs as they were given, to count them, or None.

    Raises:
        InvalidTypeError, InvalidValueError: It is none of the words.
    """

    def __init__(self, core: FlowCore, progress: object, runs: object = None) -> None:
        word = checked_progress(progress) or core.progress
        total = len(runs) if isinstance(runs, (dict, list, tuple)) else None
        shown = partial(_shown, core, None, many=True, total=total)
        self._flow: str = core.settings.flow
        self._display = make_display(word, shown, self._flow)

    def of_run(self) -> Listener | Follower | None:
        """Give what hears or follows a run, in whose task this is called."""
        if self._display is None:
            return None
        mark_shown()
        return listener_of(self._display)

    def hear_end(self, result: RunResult[Any], seconds: float) -> None:
        """Show the end of a run that was elsewhere, of which no event is heard here.

        Args:
            result: Its result.
            seconds: How long it took.
        """
        if self._display is None:
            return
        status = result.status or "failed"
        facts: dict[str, Any] = {
            "flow": self._flow,
            "run_id": result.run_id,
            "number": 0,
            "position": 0,
        }
        self._display.hear(RunFinished(**facts, status=status, seconds=seconds))

    def shown(self, results: AsyncGenerator[_Result, None]) -> AsyncGenerator[_Result, None]:
        """Give results, and close the display at their end."""
        return results if self._display is None else _closed_behind(results, self._display)


async def _closed_behind(
    results: AsyncGenerator[_Result, None], display: Display
) -> AsyncGenerator[_Result, None]:
    with Closing(display), Closing(display), shortened_traceback:
        async with aclosing(results):
            async for result in results:
                yield result


def _shown(
    core: FlowCore, run_id: str | None, *, many: bool, total: int | None = None
) -> DisplaySubject:
    flow, handler = core.settings.flow, core.handler
    if not moves_snapshots(handler):
        return DisplaySubject(flow, run_id, location_of(core), many, total)
    from aiocheckpoint.look._expected import expected_in  # noqa: PLC0415 - see `choosing`

    expected = None if many or run_id is None else partial(expected_in, handler, flow)
    return DisplaySubject(flow, run_id, str(handler.locate(run_id)), many, total, expected)
