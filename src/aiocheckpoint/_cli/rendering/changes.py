"""The changes of runs as lines, printed as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.figures import amount_shown
from aiocheckpoint._display.run_facts import note_of, place_of_run, run_name, why
from aiocheckpoint._display.times import about_left, clock, now, took_exactly
from aiocheckpoint._texts import harmless, width_of
from aiocheckpoint.look._time_left import run_left, step_left

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._cli.output import Output
    from aiocheckpoint.look import RunView

__all__ = ["ChangeLines", "ProgressLines"]

_LEAST = 12
"""Columns of a column whose later texts are not known yet."""
_PROGRESS_SECONDS = 10.0
"""Between two lines of progress of a step."""


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
    """Prints the steps of one run as they end, its progress, and each change of its status.

    Args:
        output: The output.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._number = -1
        self._done: set[int] = set()
        self._standing: tuple[object, ...] = ()
        self._told_progress = 0.0

    def print(self, run: RunView) -> None:
        """Print what is new."""
        if run.number != self._number:
            self._number, self._done, self._standing = run.number, set(), ()
            self._output.data(f"{run_name(run)} of {run.flow}, run {run.number}")
        for step in run.steps:
            if step.status == "done" and step.index not in self._done:
                self._done.add(step.index)
                took = "" if step.seconds is None else f"  {took_exactly(step.seconds)}"
                self._output.data("  ", self._output.sign("done"), f" {step.name}{took}")
        words = (place_of_run(run), _why(run), *_left(run))
        standing = run.status, run.sequence, run.starts, *words[:2]
        if standing != self._standing:
            self._standing, self._told_progress = standing, 0.0
            self._output.data(
                self._output.status(run.status), *(f"  {one}" for one in words if one)
            )
        self._print_progress(run)

    def _print_progress(self, run: RunView) -> None:
        """Print how far the step is, unless that was done less than 10 s ago."""
        if run.progress is None or now() - self._told_progress < _PROGRESS_SECONDS:
            return
        if run.status == "running":
            self._told_progress = now()
            self._output.data("  ", ", ".join(_progress(run)))


def _progress(run: RunView) -> Iterator[str]:
    """How far the step of a run is, and how long it and the run still take."""
    step = next((one for one in run.steps if one.index == run.position), None)
    progress = run.progress
    if progress is not None:
        amount = amount_shown(progress.done, progress.total, progress.note)
        yield f"{harmless(progress.step)}  {amount}"
    left = None if step is None else step_left(step, now())
    if left is not None:
        yield about_left(left)
    if run.position + 1 < (run.step_count or 0):
        yield from (f"run: {one}" for one in _left(run))


def _left(run: RunView) -> Iterator[str]:
    """How long a run still takes, where that is known."""
    left = run_left(run, now())
    if left is not None:
        yield about_left(left)


def _why(run: RunView) -> str:
    """Why a run stands where it does: what it broke on, its owner, the reason of a pause."""
    if run.status in {"failed", "cancelled"} and run.failure is not None:
        tries = f", {run.tries} tries" if run.tries > 1 else ""
        return f"{why(run)}{tries}"
    return note_of(run)
