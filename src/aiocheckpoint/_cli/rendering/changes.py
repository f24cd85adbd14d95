"""The changes of runs as lines, printed as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.run_facts import note_of, place_of_run, run_name
from aiocheckpoint._display.times import clock, now, seconds_shown
from aiocheckpoint._texts import harmless, type_shown, width_of

if TYPE_CHECKING:
    from aiocheckpoint._cli.output import Output
    from aiocheckpoint.look import RunView

__all__ = ["ChangeLines", "ProgressLines"]

_LEAST = 12
"""Columns of a column whose later texts are not known yet."""


class ChangeLines:
    """Prints a line for each change of a run, with the time at which it was seen.

    Args:
        output: The output.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._widths = {"run": _LEAST, "status": _LEAST, "place": _LEAST}

    def print(self, run: RunView) -> None:
        """Print the line of a change."""
        status = self._output.status(run.status)
        self._output.data(
            f"{clock(now())}  {self._filled('run', run_name(run))}  ",
            status._replace(text=self._filled("status", status.text)),
            f"  {self._filled('place', place_of_run(run))}  {_why(run)}",
        )

    def _filled(self, column: str, text: str) -> str:
        """Fill a text up to the widest so far."""
        shown = harmless(text)
        self._widths[column] = max(self._widths[column], width_of(shown))
        return shown + " " * (self._widths[column] - width_of(shown))


class ProgressLines:
    """Prints the steps of one run as they end, and each change of its status.

    Args:
        output: The output.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._number = -1
        self._done: set[int] = set()

    def print(self, run: RunView) -> None:
        """Print what is new."""
        if run.number != self._number:
            self._number, self._done = run.number, set()
            self._output.data(f"{run_name(run)} of {run.flow}, run {run.number}")
        for step in run.steps:
            if step.status == "done" and step.index not in self._done:
                self._done.add(step.index)
                took = "" if step.seconds is None else f"  {seconds_shown(step.seconds)}"
                self._output.data("  ", self._output.sign("done"), f" {step.name}{took}")
        words = (place_of_run(run), _why(run))
        self._output.data(self._output.status(run.status), *(f"  {one}" for one in words if one))


def _why(run: RunView) -> str:
    """Why a run stands where it does: what it broke on, its owner, the reason of a pause."""
    if run.status in {"failed", "cancelled"} and run.failure is not None:
        tries = f", {run.tries} tries" if run.tries > 1 else ""
        return f"{type_shown(run.failure.type)}{tries}"
    return note_of(run)
