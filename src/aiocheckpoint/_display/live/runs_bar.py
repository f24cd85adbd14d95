"""The bar of many runs on a terminal, as lines of parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.figures import share_of
from aiocheckpoint._display.live.run_bar import share_bar
from aiocheckpoint._display.live.runs_figures import (
    in_order,
    rate_shown,
    slowest_shown,
)
from aiocheckpoint._display.live.terminal_style import width_of_line
from aiocheckpoint._display.times import passed_and_left
from aiocheckpoint._texts import cut_middle, harmless, width_of

if TYPE_CHECKING:
    from aiocheckpoint._display.live.followed import FollowedRuns
    from aiocheckpoint._display.live.terminal_style import Line, TerminalStyle
    from aiocheckpoint.look._live_runs import LiveCounts

__all__ = ["counts_line", "runs_lines"]

_WIDEST, _NARROWEST, _LEAST_TITLE = 20, 6, 8
_MOST_NEEDED = 2
"""Figures that are never left out: how many runs have ended, and how many of them well."""


def runs_lines(runs: FollowedRuns, flow: str, style: TerminalStyle, now: float) -> list[Line]:
    """Give the lines of many runs in progress.

    Args:
        runs: The runs.
        flow: Name of the flow.
        style: What the terminal can show.
        now: Seconds since the epoch.
    """
    lines, slowest = [counts_line(runs, flow, style, now)], runs.counts().slowest
    if slowest is not None:
        words = f"slowest: {slowest_shown(slowest, now)}"
        lines.append([(cut_middle(words, style.width, style.dots), "")])
    return lines


def counts_line(runs: FollowedRuns, flow: str, style: TerminalStyle, now: float) -> Line:
    """Give the line with all numbers. What has no room is left out, the last first."""
    counts, total = runs.counts(), runs.total
    figures = _figures(runs, counts, now)
    while len(figures) > _MOST_NEEDED and width_of_line(figures) > style.width - _LEAST_TITLE - 2:
        figures.pop()
    room = style.width - width_of_line(figures)
    title = cut_middle(harmless(flow), max(room - 2, _LEAST_TITLE), style.dots)
    share = share_of(sum(counts.ended.values()), total)
    room -= width_of(title) + 2
    if share is None or room < _NARROWEST + 2:
        return [(title, ""), *figures]
    bar = share_bar(share, min(room - 2, _WIDEST), style)
    return [(f"{title}  ", ""), (bar, "running"), *figures]


def _figures(runs: FollowedRuns, counts: LiveCounts, now: float) -> Line:
    total = runs.total
    ended = sum(counts.ended.values())
    of = "" if total is None else f"/{total:,}"
    figures: Line = [(f"  {ended:,}{of} runs", "")]
    figures += [(f"  {number:,} {harmless(status)}", status) for status, number in in_order(counts)]
    if counts.running:
        figures.append((f"  {counts.running:,} running", ""))
    not_begun = runs.not_begun(counts)
    if not_begun:
        figures.append((f"  {not_begun}", ""))
    times = passed_and_left(now - runs.began, runs.left(counts))
    return [*figures, (f"  {rate_shown(counts)}", ""), (f"  {times}", "")]
