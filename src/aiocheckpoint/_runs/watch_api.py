"""The public method that hears the events of all runs of a flow."""

from __future__ import annotations

from aiocheckpoint._model.checks import checked_count, checked_flag
from aiocheckpoint._model.state_type import StateT
from aiocheckpoint._runs.flow_methods import FlowMethods
from aiocheckpoint._runs.watching import Watch
from aiocheckpoint.handlers._identifiers import checked_run_id

__all__ = ["WatchedRuns"]


class WatchedRuns(FlowMethods[StateT]):
    """Hears the events of all runs of a flow in this process."""

    def watch(
        self, run_id: str | None = None, *, size: int = 1000, until_end: bool = False
    ) -> Watch:
        """Hear the events of the runs of this flow object in this process, from now on.

        For progress in a web page, a bar, or a test: `async for event in cp.watch("order-42")`.
        Any number of watchers may come and go, also in the midst of a run. No run waits for them.
        Runs of other processes are not heard.

        Args:
            run_id: The run to hear of. By default all runs.
            size: The events that are kept for a watcher that is slow. Beyond them the oldest are
                dropped, and `EventsDropped` stands in their place.
            until_end: Whether it ends once the run has ended, or is not in progress in this process
                at all. Without a `run_id` it ends once no run is in progress. By default it goes
                on, for the next run, until it is closed or the flow is drained.

        Returns:
            An iterator for `async for`, and for `for` in a thread that no run needs. Leaving an
            `async with` or `with` block around it closes it.

        Raises:
            InvalidTypeError, InvalidValueError: An argument is invalid.
        """
        name = checked_run_id(run_id)
        kept = checked_count("size=", size, "a number of events")
        return Watch(
            self._core.settings, name, kept, until_end=checked_flag("until_end", until_end)
        )
