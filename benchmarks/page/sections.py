"""The page of all figures, in Markdown, made of results and prose alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from page.tables import spread, table, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from measure.results import Result

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
        yield table(_COMPARED, _pairs(result))
    if result.singles:
        yield table(_SINGLE, _singles(result))
    if result.notes:
        yield "\n".join(f"- {note}" for note in result.notes)
    yield from images


def _pairs(result: Result) -> Iterator[Sequence[str]]:
    for pair in result.pairs:
        of_subject, of_base, ratio = map(spread, (pair.of_subject, pair.of_base, pair.ratio))
        goal = verdict(pair.goal, pair.ratio.median)
        yield pair.subject, pair.unit, of_subject, pair.base, of_base, ratio, goal


def _singles(result: Result) -> Iterator[Sequence[str]]:
    for single in result.singles:
        goal = verdict(single.goal, single.figures.median)
        yield single.name, single.unit, spread(single.figures), goal
