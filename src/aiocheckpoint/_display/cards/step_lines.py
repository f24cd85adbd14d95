"""The steps of a run as lines, for cards and texts: sign, name, bar, and what is known of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._display.figures import share_of
from aiocheckpoint._display.folding import Gap, folded
from aiocheckpoint._display.step_words import seconds_of, words_of
from aiocheckpoint._display.times import now

if TYPE_CHECKING:
    from aiocheckpoint.look import RunView, StepView

__all__ = ["BAR", "StepLine", "duration_bar", "step_lines"]

BAR = "▇"
_BAR_LENGTH = 12


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


def step_lines(run: RunView, most: int) -> list[StepLine | Gap]:
    """Give the lines of a run.

    Args:
        run: The run.
        most: The most steps.
    """
    first = run.steps[0].index if run.steps else 0
    longest = max((seconds_of(one, run) or 0.0 for one in run.steps), default=0.0)
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
        bar=duration_bar(seconds_of(step, run), longest),
        words=tuple(words_of(step, run, now())),
        share=share_of(step.done, step.total) if step.status == "running" else None,
    )
