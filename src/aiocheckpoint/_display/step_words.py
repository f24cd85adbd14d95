"""The words of steps: their limits in a flow, and what is known of them in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.figures import amount_shown
from aiocheckpoint._display.times import about_left, took
from aiocheckpoint._model.step_executor import executor_shown
from aiocheckpoint._texts import type_shown
from aiocheckpoint.look._time_left import step_left

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint._model.header import Failure
    from aiocheckpoint._model.steps import Step
    from aiocheckpoint.look import RunView, StepView

__all__ = ["limits_of", "seconds_of", "words_of"]


def limits_of(step: Step) -> Iterator[str]:
    """Say the limits of a step, such as "up to 5 tries" and "at most 30 s"."""
    if step.retry is not None:
        yield _tries(step.retry.attempts)
    if step.run.timeout is not None:
        yield f"at most {step.run.timeout.seconds:g} s"
    if step.limiter is not None:
        yield "limited"
    if step.executor is not None:
        yield f"in {executor_shown(step.executor)}"


def words_of(step: StepView, run: RunView, now: float | None) -> Iterator[str]:
    """Say what is known of a step beside its status, the most important first.

    Args:
        step: The step.
        run: Its run.
        now: Seconds since the epoch. None for the words that stay the same while time passes.
    """
    is_running, broken = step.status == "running", _broken(step, run)
    seconds = seconds_of(step, run)
    if seconds is not None:
        yield took(seconds)
    elif is_running and step.began and now is not None:
        yield f"{took(max(now - step.began, 0.0))} so far"
    if step.attempts > 1:
        yield f"try {step.attempts}" if is_running else f"{step.attempts} tries"
    amount = _amount(step, run)
    if amount:
        yield amount
    left = step_left(step, now) if is_running and now is not None else None
    if left is not None:
        yield about_left(left)
    if broken is not None:
        before = "before: " if is_running else ""
        yield f"{before}{type_shown(broken.type)} in its part {broken.part!r}"
    if step.status == "paused" and run.pause:
        yield run.pause


def _amount(step: StepView, run: RunView) -> str:
    """How far a step is, or was. A stored run has a line of its own for what was done."""
    is_over = step.status in {"done", "waiting"}
    if step.done is None or is_over or (run.progress is not None and step.status != "running"):
        return ""
    amount = amount_shown(step.done, step.total, step.note)
    return amount if step.status == "running" else f"{amount.removesuffix(' done')} done"


def _tries(most: int | None) -> str:
    if most is None:
        return "any number of tries"
    return "one try" if most == 1 else f"up to {most:,} tries"


def seconds_of(step: StepView, run: RunView) -> float | None:
    """Give the duration of a step that has ended, well or not. None where it is unknown."""
    broken = _broken(step, run)
    if step.seconds is None and broken is not None and step.status != "running":
        return broken.seconds
    return step.seconds


def _broken(step: StepView, run: RunView) -> Failure | None:
    """What the step broke on in this attempt, or in the one before, if it is not done since."""
    is_over = step.status in {"done", "waiting"}
    failure = run.failure
    return None if failure is None or is_over or failure.step != step.name else failure
