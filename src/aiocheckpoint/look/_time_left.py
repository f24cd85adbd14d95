"""How long steps and runs take from here: by their own progress, and by earlier runs."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiocheckpoint.look._records import RunView, StepView
    from aiocheckpoint.look._store import Store

__all__ = ["expected_of", "run_left", "step_left"]

_NEWEST = 20
"""As many runs give the median."""

_SLACK_SHARE, _SLACK_SECONDS = 0.5, 1.0
"""How much longer than expected a step may take before nothing is said of the run any more."""


def expected_of(store: Store, flow: str) -> Mapping[str, float]:
    """Seconds that each step of a flow needs: the median of its newest 20 finished runs.

    Args:
        store: The store.
        flow: Name of the flow.

    Returns:
        The seconds by step. Empty where none has finished, and of a store without an index.

    Raises:
        StorageError: The store cannot be read.
    """
    reader = store._reader  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    seconds: dict[str, list[float]] = {}
    for run in reader.newest_finished(flow, _NEWEST):
        if run.header is not None and run.error is None:
            for step, one in run.header.durations.items():
                seconds.setdefault(step, []).append(one)
    return {step: statistics.median(those) for step, those in seconds.items()}


def step_left(step: StepView, now: float) -> float | None:
    """Seconds that a step still needs by its own progress. None where nothing is known.

    Args:
        step: The step.
        now: Seconds since the epoch.
    """
    left = step.ends_at - now
    return left if step.ends_at and left > 0 else None


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
    return own + later or None


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
