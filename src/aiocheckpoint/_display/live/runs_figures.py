"""Figures of many runs in one display: how many have ended and how, how fast, and the slowest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.figures import first_line
from aiocheckpoint._display.run_facts import step_shown
from aiocheckpoint._display.times import stopwatch
from aiocheckpoint._texts import harmless
from aiocheckpoint.events import RunTerminated, StepFailed

if TYPE_CHECKING:
    from aiocheckpoint.events import Event
    from aiocheckpoint.look._live_runs import LiveCounts, SlowStep

__all__ = [
    "ends_shown",
    "failure_line",
    "in_order",
    "not_begun_shown",
    "rate_shown",
    "slowest_shown",
]

_ORDER = ("finished", "failed", "terminated", "cancelled", "paused", "stopped")


def in_order(counts: LiveCounts) -> list[tuple[str, int]]:
    """Give the numbers of ended runs by status, without those that are 0, and of finished ones."""
    ended = counts.ended
    known = [(one, ended.get(one, 0)) for one in _ORDER]
    others = [(one, number) for one, number in ended.items() if one not in _ORDER]
    return [pair for pair in (*known, *others) if pair[1] or pair[0] == "finished"]


def ends_shown(counts: LiveCounts, total: int | None, *, is_cut: bool = False) -> str:
    """Tell of all runs in one line, such as "130/200 runs, 120 finished, 3 failed, 70 running"."""
    ended = sum(counts.ended.values())
    words = [f"{ended:,}{'' if total is None else f'/{total:,}'} runs"]
    words += [f"{number:,} {harmless(status)}" for status, number in in_order(counts)]
    if counts.running:
        words.append(f"{counts.running:,} running")
    if is_cut:
        words += filter(None, [not_begun_shown(counts, total)])
    return ", ".join([*words, rate_shown(counts)])


def not_begun_shown(counts: LiveCounts, total: int | None) -> str:
    """Tell how many runs an ended call has not begun, such as "110 not begun". "" for none."""
    rest = 0 if total is None else total - sum(counts.ended.values()) - counts.running
    return f"{rest:,} not begun" if rest > 0 else ""


def rate_shown(counts: LiveCounts) -> str:
    """Show how many runs end, such as "12.0/s"."""
    return f"{counts.rate:.1f}/s"


def slowest_shown(slowest: SlowStep, now: float) -> str:
    """Name the slowest step, such as "order-57 at 3/4 charge, 0:31"."""
    where = step_shown(slowest.index, slowest.of, slowest.step)
    return f"{_run_of(slowest)} at {where}, {stopwatch(now - slowest.began)}"


def failure_line(event: Event) -> str | None:
    """Tell of a run that has failed or was terminated. None for other events."""
    match event:
        case StepFailed(cancelled=False):
            where = step_shown(event.index, event.of, event.step)
            return f"{_run_of(event)} failed at {where}: {type(event.error).__name__}"
        case RunTerminated():
            at = "" if event.step is None else f" at {harmless(event.step)}"
            return f"{_run_of(event)} terminated{at}: {first_line(event.reason)}"
        case _:
            return None


def _run_of(one: Event | SlowStep) -> str:
    """Name a run of one flow by its id alone."""
    return harmless(one.flow if one.run_id is None else one.run_id)
