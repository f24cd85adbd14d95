"""The bar of one run on a terminal, as lines of parts: where it is, and how long it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.figures import (
    about,
    amount_shown,
    duration,
    first_line,
    run_shown,
    share_of,
    step_shown,
)
from aiocheckpoint._display.look_of_terminal import width_of_line
from aiocheckpoint._texts import cut_middle, cut_start, type_shown, width_of
from aiocheckpoint.look._time_left import run_left, step_left

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._display.look_of_terminal import Line, Look
    from aiocheckpoint.look import RunView, StepView

__all__ = ["bar_of", "end_line", "padded", "run_lines"]

_WIDEST, _NARROWEST = 20, 6
_LEAST_TITLE, _LEAST_STEP = 12, 8
_GAP = "   "


def run_lines(run: RunView, look: Look, now: float) -> list[Line]:
    """Give the lines of a run in progress.

    Args:
        run: The run.
        look: What the terminal can show.
        now: Seconds since the epoch.
    """
    current = next((step for step in run.steps if step.status == "running"), None)
    if current is None:
        title = cut_middle(run_shown(run.flow, run.run_id), look.width - 12, look.dots)
        return [[(f"{title}  ", ""), (run.status, run.status)]]
    return [_first_line(run, current, look, now), _second_line(run, current, look, now)]


def _first_line(run: RunView, step: StepView, look: Look, now: float) -> Line:
    title = run_shown(run.flow, run.run_id)
    where = step_shown(step.index, run.step_count, step.name)
    amount = "" if step.done is None else amount_shown(step.done, step.total, step.note)
    figures = "  ".join(filter(None, (amount, _times(step, now))))
    share = share_of(step.done, step.total)
    least = 0 if share is None else _NARROWEST + 2
    room = look.width - width_of(figures) - least - len(_GAP) - 2
    where = cut_middle(
        where, max(room - min(width_of(title), _LEAST_TITLE), _LEAST_STEP), look.dots
    )
    title = cut_middle(title, max(room - width_of(where), _LEAST_TITLE), look.dots)
    line: Line = [(f"{title}  ", ""), (where, "running"), (_GAP, "")]
    if share is not None:
        room = look.width - width_of_line(line) - width_of(figures) - 2
        line += [(bar_of(share, min(max(room, _NARROWEST), _WIDEST), look), "running"), ("  ", "")]
    room = look.width - width_of_line(line)
    return [*line, (cut_middle(figures, max(room, 2), look.dots), "")]


def _times(step: StepView, now: float) -> str:
    passed = duration(now - step.began) if step.began else ""
    left = step_left(step, now)
    attempt = f"try {step.attempts}" if step.attempts > 1 else ""
    times = passed if left is None else f"{passed}, about {duration(left + 0.5)} left"
    return "  ".join(filter(None, (attempt, times)))


def _second_line(run: RunView, current: StepView, look: Look, now: float) -> Line:
    seconds = run_left(run, now)
    left = "" if seconds is None else f"run: {about(seconds)}"
    room = look.width - width_of(left) - (2 if left else 0)
    line: Line = []
    for step in _near(run.steps, current):
        part = _step_part(step, look)
        added = [(_GAP, ""), *part] if line else part
        if width_of_line(line) + width_of_line(added) > room:
            break
        line += added
    return padded(line, look.width - width_of(left), left)


def _near(steps: tuple[StepView, ...], current: StepView) -> Iterator[StepView]:
    """Give the three steps before the current one, and all behind it."""
    at = steps.index(current)
    yield from steps[max(at - 3, 0) : at]
    yield from steps[at + 1 :]


def _step_part(step: StepView, look: Look) -> Line:
    seconds = "" if step.seconds is None else f" {step.seconds:.2f} s"
    name = cut_middle(step_shown(0, None, step.name)[2:], 24, look.dots)
    return [(look.sign(step.status), step.status), (f" {name}{seconds}", "")]


def end_line(run: RunView, look: Look, now: float) -> Line:
    """Give the line that stays of a run that has ended."""
    title = f" {run_shown(run.flow, run.run_id)} "
    words = f"{run.status}{_how_it_ended(run, look, now)}"
    title = cut_middle(title, max(look.width - 1 - width_of(words), _LEAST_TITLE), look.dots)
    line: Line = [(look.sign(run.status), run.status), (title, "")]
    return [*line, (cut_middle(words, max(look.width - width_of_line(line), 2), look.dots), "")]


def _how_it_ended(run: RunView, look: Look, now: float) -> str:
    at = ""
    if run.step is not None and run.status != "finished":
        at = f" at {cut_middle(step_shown(run.position, run.step_count, run.step), 30, look.dots)}"
    if run.pause and run.status == "paused":
        return f"{at}: {first_line(run.pause)}"
    if run.termination and run.status == "terminated":
        return f"{at}: {first_line(run.termination)}"
    if run.failure is not None and run.status in {"failed", "cancelled"}:
        kind = cut_start(type_shown(first_line(run.failure.type)), 40, look.dots)
        return f"{at}: {kind}"
    return f"{at} after {duration(now - run.started_at)}" if run.started_at else at


def bar_of(share: float, width: int, look: Look) -> str:
    """Draw a bar."""
    full, empty = "█░" if look.unicode else "#."
    done = int(share * width)
    return full * done + empty * (width - done)


def padded(line: Line, column: int, text: str) -> Line:
    """Put a text behind a line, at a column."""
    return [*line, (" " * max(column - width_of_line(line), 0) + text, "")] if text else line
