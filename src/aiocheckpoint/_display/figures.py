"""Figures of progress as bars and lines show them: counts, shares, durations, and names of runs."""

from __future__ import annotations

import math

from aiocheckpoint._texts import harmless

__all__ = [
    "about",
    "amount_shown",
    "duration",
    "first_line",
    "percent",
    "run_shown",
    "share_of",
    "step_shown",
]

_FEW_DIGITS = 100_000


def run_shown(flow: str, run_id: str | None) -> str:
    """Name a run as the log does."""
    return harmless(flow) if run_id is None else f"{harmless(flow)}[{harmless(run_id)}]"


def step_shown(index: int, count: int | None, name: str) -> str:
    """Name a step with its number, such as "3/4 charge"."""
    of = "" if count is None else f"/{count}"
    return f"{index + 1}{of} {harmless(name)}"


def duration(seconds: float) -> str:
    """Show how long something goes on, such as "0:41" or "2:05:09"."""
    minutes, rest = divmod(int(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def about(seconds: float) -> str:
    """Show how long something will take, such as "about 4 min left"."""
    for unit, size in (("h", 3_600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"about {seconds / size:.0f} {unit} left"
    return f"about {max(seconds, 1.0):.0f} s left"


def share_of(done: float | None, total: float | None) -> float | None:
    """Give the share that is done, from 0.0 to 1.0. None where it is unknown."""
    return None if done is None or not total else min(max(done / total, 0.0), 1.0)


def percent(share: float) -> str:
    """Show a share, such as "62 %". All of it is 100 % alone."""
    return f"{int(share * 100)} %"


def amount_shown(done: float, total: float | None, note: str | None) -> str:
    """Show the progress of a step, such as "1,240/2,000 rows"."""
    of = "" if total is None else f"/{_number(total)}"
    words = f" {first_line(note)}" if note else ""
    return f"{_number(done)}{of}{words}"


def first_line(text: str) -> str:
    """The first line of a text of strangers, harmless."""
    return harmless(text.strip().partition("\n")[0])


def _number(value: float) -> str:
    if not math.isfinite(value):  # A stored record may hold any number.
        return "?"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) < _FEW_DIGITS else f"{value:,.0f}"
