"""The bar of one run on a terminal, as lines of parts: where it is, and how long it will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.figures import amount_shown, first_line, share_of
from aiocheckpoint._display.live.terminal_style import width_of_line
from aiocheckpoint._display.run_facts import place_of_run, run_shown, step_shown, why
from aiocheckpoint._display.times import about_left, passed_and_left, stopwatch, took
from aiocheckpoint._texts import cut_middle, cut_start, harmless, width_of
from aiocheckpoint.look._time_left import run_left, step_left

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._display.live.terminal_style import Line, TerminalStyle
    from aiocheckpoint.look import RunView, StepView

__all__ = ["end_line", "run_lines", "share_bar"]

_WIDEST, _NARROWEST = 20, 6
_LEAST_TITLE, _LEAST_STEP = 12, 8
_GAP = "   "


def run_lines(run: RunView, style: TerminalStyle, now: float) -> list[Line]:
    """Give the lines of a run in progress.

    Args:
        run: The run.
        style: What the terminal can show.
        now: Seconds since the epoch.
    """
    current = next((step for step in run.steps if step.status == "running"), None)
    if current is None:
        title = cut_middle(run_shown(run.flow, run.run_id), style.width - 12, style.dots)
        return [[(f"{title}  ", ""), (run.status, run.status)]]
    return [_first_line(run, current, style, now), _second_line(run, current, style, now)]


def _first_line(run: RunView, step: StepView, style: TerminalStyle, now: float) -> Line:
    title = run_shown(run.flow, run.run_id)
    where = step_shown(step.index, run.step_count, step.name)
    amount = "" if step.done is None else amount_shown(step.done, step.total, step.note)
    figures = "  ".join(filter(None, (amount, _times(step, now))))
    share = share_of(step.done, step.total)
    least = 0 if share is None else _NARROWEST + 2
    room = style.width - width_of(figures) - least - len(_GAP) - 2
    where = cut_middle(
        where, max(room - min(width_of(title), _LEAST_TITLE), _LEAST_STEP), style.dots
    )
    title = cut_middle(title, max(room - width_of(where), _LEAST_TITLE), style.dots)
    line: Line = [(f"{title}  ", ""), (where, "running"), (_GAP, "")]
    if share is not None:
        room = style.width - width_of_line(line) - width_of(figures) - 2
        bar = share_bar(share, min(max(room, _NARROWEST), _WIDEST), style)
        line += [(bar, "running"), ("  ", "")]
    room = style.width - width_of_line(line)
    return [*line, (cut_middle(figures, max(room, 2), style.dots), "")]


def _times(step: StepView, now: float) -> str:
    attempt = f"try {step.attempts}" if step.attempts > 1 else ""
    times = passed_and_left(now - step.began if step.began else None, step_left(step, now))
    return "  ".join(filter(None, (attempt, times)))


def _second_line(run: RunView, current: StepView, style: TerminalStyle, now: float) -> Line:
    seconds = run_left(run, now)
    left = "" if seconds is None else f"run: {about_left(seconds)}"
    room = style.width - width_of(left) - (2 if left else 0)
    line: Line = []
    for step in _near(run.steps, current):
        part = _step_part(step, style)
        added = [(_GAP, ""), *part] if line else part
        if width_of_line(line) + width_of_line(added) > room:
            break
        line += added
    if not left:
        return line
    gap = style.width - width_of_line(line) - width_of(left)
    return [*line, (" " * gap + left, "")]


def _near(steps: tuple[StepView, ...], current: StepView) -> Iterator[StepView]:
    """Give the three steps before the current one, and all behind it."""
    at = steps.index(current)
    yield from steps[max(at - 3, 0) : at]
    yield from steps[at + 1 :]


def _step_part(step: StepView, style: TerminalStyle) -> Line:
    seconds = "" if step.seconds is None else f" {took(step.seconds)}"
    name = cut_middle(harmless(step.name), 24, style.dots)
    return [(style.sign(step.status), step.status), (f" {name}{seconds}", "")]


def end_line(run: RunView, style: TerminalStyle, now: float) -> Line:
    """Give the line that stays of a run that has ended."""
    title = f" {run_shown(run.flow, run.run_id)} "
    words = f"{run.status}{_how_it_ended(run, style, now)}"
    title = cut_middle(title, max(style.width - 1 - width_of(words), _LEAST_TITLE), style.dots)
    line: Line = [(style.sign(run.status), run.status), (title, "")]
    return [*line, (cut_middle(words, max(style.width - width_of_line(line), 2), style.dots), "")]


def _how_it_ended(run: RunView, style: TerminalStyle, now: float) -> str:
    place = "" if run.status == "finished" else place_of_run(run)
    at = f" at {cut_middle(place, 30, style.dots)}" if place else ""
    reason = first_line(why(run))
    if run.status in {"failed", "cancelled"}:
        reason = cut_start(reason, 40, style.dots)
    if reason:
        return f"{at}: {reason}"
    return f"{at} after {stopwatch(now - run.started_at)}" if run.started_at else at


def share_bar(share: float, width: int, style: TerminalStyle) -> str:
    """Draw a bar."""
    full, empty = "█░" if style.unicode else "#."
    done = int(share * width)
    return full * done + empty * (width - done)
