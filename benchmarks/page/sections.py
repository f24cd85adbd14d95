"""The page of all figures, in Markdown, made of results and prose alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from measure.pairs import Goal
    from measure.results import Quartiles, Result

__all__ = ["section"]

_COMPARED = ("figure", "unit", "median (quartiles)", "against", "its median", "ratio", "goal")
_SINGLE = ("figure", "unit", "median (quartiles)", "goal")


def section(title: str, text: str, result: Result, images: Iterable[str]) -> Iterator[str]:
    """Give the paragraphs of one benchmark.

    Args:
        title: The heading.
        text: The prose below the heading, or nothing.
        result: The figures.
        images: The plots, as links.
    """
    yield f"## {title}"
    if text:
        yield text.strip()
    yield f"```shell\n{result.command}\n```"
    yield f"{result.workload}. Measured on {result.day}: {result.machine}."
    if result.pairs:
        yield _table(_COMPARED, _pairs(result))
    if result.singles:
        yield _table(_SINGLE, _singles(result))
    if result.notes:
        yield "\n".join(f"- {note}" for note in result.notes)
    yield from images


def _pairs(result: Result) -> Iterator[Sequence[str]]:
    for pair in result.pairs:
        figures = map(_spread, (pair.of_subject, pair.of_base, pair.ratio))
        of_subject, of_base, ratio = figures
        goal = _verdict(pair.goal, pair.ratio.median)
        yield pair.subject, pair.unit, of_subject, pair.base, of_base, ratio, goal


def _singles(result: Result) -> Iterator[Sequence[str]]:
    for single in result.singles:
        goal = _verdict(single.goal, single.figures.median)
        yield single.name, single.unit, _spread(single.figures), goal


def _verdict(goal: Goal | None, figure: float) -> str:
    if goal is None:
        return ""
    return f"{goal}: {'met' if goal.is_met_by(figure) else '**missed**'}"


def _spread(figures: Quartiles) -> str:
    return f"{_number(figures.median)} ({_number(figures.p25)} to {_number(figures.p75)})"


def _number(value: float) -> str:
    """Give four significant digits, and all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
