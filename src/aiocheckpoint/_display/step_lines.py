"""The steps of a run as lines, for cards and texts: sign, name, bar, and what is known of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._display.figures import amount_shown, share_of
from aiocheckpoint._display.times import about_left, now, took
from aiocheckpoint._texts import type_shown
from aiocheckpoint.look._time_left import step_left

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeVar

    from aiocheckpoint._model.header import Failure
    from aiocheckpoint.look import RunView, StepView

    _Item = TypeVar("_Item")

__all__ = ["BAR", "Gap", "StepLine", "duration_bar", "folded", "step_lines"]

BAR = "▇"
_BAR_LENGTH = 12
_AT_ENDS = 3


class StepLine(NamedTuple):
    """One step.

    Attributes:
        name: Its name.
        status: Its status.
        bar: Its duration beside those of the others, as a bar. "" where unknown.
        words: Its duration, tries, and what it broke on or waits for.
        share: The share of its work that is done, or None.
    """

    name: str
    status: str
    bar: str
    words: tuple[str, ...]
    share: float | None


class Gap(NamedTuple):
    """Steps that are left out.

    Attributes:
        words: What is left out, in words.
    """

    words: str


def step_lines(run: RunView, most: int) -> list[StepLine | Gap]:
    """Give the lines of a run.

    Args:
        run: The run.
        most: The most steps.
    """
    first = run.steps[0].index if run.steps else 0
    longest = max((_seconds(one, run) or 0.0 for one in run.steps), default=0.0)
    at = run.position - first
    shown: list[StepLine | Gap] = []
    if first:
        shown.append(Gap(f"{first:,} earlier steps, of which only the newest are recorded"))
    rest = folded(run.steps, at, most)
    shown.extend(one if isinstance(one, Gap) else _line(one, run, longest) for one in rest)
    behind = (run.step_count or 0) - first - len(run.steps)
    if run.steps and behind > 0:
        shown.append(Gap(f"{behind:,} more steps"))
    return shown


def folded(lines: Sequence[_Item], at: int, most: int) -> Iterator[_Item | Gap]:
    """Leave out lines of many: both ends and those around one stay.

    Args:
        lines: The lines.
        at: The place of the one that matters.
        most: The most lines that stay, at least 3.
    """
    if len(lines) <= most:
        yield from lines
        return
    ends = min(_AT_ENDS, (most - 1) // 2)
    around = (most - 2 * ends - 1) // 2
    kept = {*range(ends), *range(len(lines) - ends, len(lines))}
    kept.update(range(at - around, at + around + 1))
    gap = 0
    for place, line in enumerate(lines):
        if place not in kept:
            gap += 1
            continue
        if gap:
            yield Gap(f"{gap:,} more steps")
            gap = 0
        yield line


def duration_bar(seconds: float | None, longest: float) -> str:
    """Draw a duration beside the longest one."""
    if seconds is None or not 0 <= seconds <= longest or not longest < float("inf"):
        return ""
    length = round(_BAR_LENGTH * seconds / longest) if longest else 0
    return BAR * length or "▏"


def _line(step: StepView, run: RunView, longest: float) -> StepLine:
    return StepLine(
        name=step.name,
        status=step.status,
        bar=duration_bar(_seconds(step, run), longest),
        words=tuple(filter(None, _words(step, run))),
        share=share_of(step.done, step.total) if step.status == "running" else None,
    )


def _words(step: StepView, run: RunView) -> Iterator[str]:
    """What is known of a step, the most important first."""
    is_running, broken = step.status == "running", _broken(step, run)
    seconds = _seconds(step, run)
    if seconds is not None:
        yield took(seconds)
    elif is_running and step.began:
        yield f"{took(max(now() - step.began, 0.0))} so far"
    if step.attempts > 1:
        yield f"try {step.attempts}" if is_running else f"{step.attempts} tries"
    if is_running and step.done is not None:
        yield amount_shown(step.done, step.total, step.note)
    left = step_left(step, now()) if is_running else None
    if left is not None:
        yield about_left(left)
    if broken is not None:
        before = "before: " if is_running else ""
        yield f"{before}{type_shown(broken.type)} in its part {broken.part!r}"
    if step.status == "paused" and run.pause:
        yield run.pause


def _seconds(step: StepView, run: RunView) -> float | None:
    """The duration of a step that has ended, well or not."""
    broken = _broken(step, run)
    if step.seconds is None and broken is not None and step.status != "running":
        return broken.seconds
    return step.seconds


def _broken(step: StepView, run: RunView) -> Failure | None:
    """What the step broke on in this attempt, or in the one before, if it is not done since."""
    is_over = step.status in {"done", "waiting"}
    failure = run.failure
    return None if failure is None or is_over or failure.step != step.name else failure
