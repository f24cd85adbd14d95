"""How long steps and runs take from here: by their own progress, and by earlier runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint.look._records import step_of
from aiocheckpoint.look._step_pace import StepPace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiocheckpoint.look._records import RunView, StepView

__all__ = ["is_by_earlier_runs", "is_by_progress", "run_left", "step_left", "with_ends"]

_SLACK_SHARE, _SLACK_SECONDS = 0.5, 1.0
"""How much longer than expected a step may take before nothing is said of the run any more."""

_MOST_SECONDS = 1e9
"""A header may hold any number. Nobody waits for 30 years."""


def step_left(step: StepView, now: float) -> float | None:
    """Seconds that a step still needs by its own progress. None where nothing is known.

    Args:
        step: The step.
        now: Seconds since the epoch.
    """
    left = step.ends_at - now
    return left if step.ends_at and 0 < left < _MOST_SECONDS else None


def run_left(run: RunView, now: float) -> float | None:
    """Seconds that a running run still needs, by earlier runs and by the progress of its step.

    Args:
        run: The run.
        now: Seconds since the epoch.

    Returns:
        The seconds. None where a step of the rest is not known by an earlier run, or where the
        present one takes much longer than it did then.
    """
    stop = run.step_count if run.stop is None else run.stop
    if run.status != "running" or run.stale or stop is None:
        return None
    rest = [step for step in run.steps if run.position <= step.index < stop]
    if not rest or len(rest) != stop - run.position:
        return None
    own = step_left(rest[0], now)
    if own is None:
        own = _expected_left(rest[0], now)
    later = _summed(step.expected for step in rest[1:])
    if own is None or later is None:
        return None
    return own + later if 0 < own + later < _MOST_SECONDS else None


def is_by_earlier_runs(run: RunView, now: float) -> bool:
    """Whether `run_left` takes earlier runs into account.

    It does not where the last step is in progress, and its progress says when it ends.

    Args:
        run: The run.
        now: Seconds since the epoch.
    """
    stop = run.step_count if run.stop is None else run.stop
    return not is_by_progress(run, now) or stop is None or run.position + 1 < stop


def is_by_progress(run: RunView, now: float) -> bool:
    """Whether `run_left` takes the progress of the present step into account.

    Args:
        run: The run.
        now: Seconds since the epoch.
    """
    return any(step.index == run.position and step_left(step, now) for step in run.steps)


def with_ends(
    run: RunView,
    now: float,
    *,
    pace: StepPace | None = None,
    expected: Mapping[str, float] | None = None,
) -> RunView:
    """The view of a run with the times at which it and its step end, where these are known.

    Args:
        run: The run.
        now: Seconds since the epoch.
        pace: The pace of its step, by times since the epoch. None to find it by the last report.
        expected: What other runs needed, for one that does not know it.
    """
    if run.status != "running":
        return run
    if expected and not run.expected:
        steps = tuple(replace(step, expected=expected.get(step.name)) for step in run.steps)
        run = replace(run, expected=dict(expected), steps=steps)
    left = _paced(run) if pace is None else pace
    run = _with_step_ending(run, None if left is None else left.seconds_left(now), now)
    rest = run_left(run, now)
    return replace(run, ends_at=0.0 if rest is None else now + rest)


def _with_step_ending(run: RunView, seconds: float | None, now: float) -> RunView:
    current = step_of(run)
    if current is None:
        return run
    ending = replace(current, ends_at=0.0 if seconds is None else now + seconds)
    return replace(run, steps=tuple(ending if one is current else one for one in run.steps))


def _paced(run: RunView) -> StepPace | None:
    """The pace of the step in progress, which began with nothing done, by its last report."""
    progress = run.progress
    step = step_of(run)
    if progress is None or step is None or not step.began:
        return None
    pace = StepPace(step.began, from_zero=True)
    pace.report(progress.done, progress.total, progress.at)
    return pace


def _expected_left(step: StepView, now: float) -> float | None:
    """Seconds that a step still needs by earlier runs."""
    if step.expected is None or step.expected < 0 or not step.began:
        return None
    passed = max(0.0, now - step.began)
    if passed > step.expected * (1 + _SLACK_SHARE) + _SLACK_SECONDS:
        return None
    return max(0.0, step.expected - passed)


def _summed(seconds: Iterable[float | None]) -> float | None:
    """The sum, or None where one is unknown or no duration."""
    total = 0.0
    for one in seconds:
        if one is None or one < 0:
            return None
        total += one
    return total
