"""Tables of the page in Markdown, and the texts of their cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from measure.pairs import Goal
    from measure.results import Quartiles

__all__ = ["number", "outcome", "spread", "table", "verdict"]


def verdict(goal: Goal | None, figure: float) -> str:
    """Give a goal and its outcome, or nothing without a goal."""
    return "" if goal is None else f"{goal}: {outcome(goal, figure)}"


def outcome(goal: Goal, figure: float) -> str:
    """Give whether a figure meets its goal. Missed goals are in bold type."""
    return "met" if goal.is_met_by(figure) else "**missed**"


def spread(figures: Quartiles) -> str:
    """Give median and quartiles."""
    return f"{number(figures.median)} ({number(figures.p25)} to {number(figures.p75)})"


def number(value: float) -> str:
    """Give four significant digits, and all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table with its head."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
