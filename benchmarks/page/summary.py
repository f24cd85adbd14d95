"""The first table of the page: a few figures of all benchmarks, with their goals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from page.tables import number, outcome, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from measure.pairs import Goal
    from measure.results import Result

__all__ = ["measured", "summary"]

_HEAD = ("figure", "value", "goal", "outcome", "section")


@dataclass(frozen=True, slots=True)
class _Figure:
    """One median of a result file.

    Attributes:
        section: Name of the result file.
        names: Name of the figure, or the names of subject and base.
        value: The median.
        unit: Its unit, "times" for a ratio.
        goal: Its limit, or None.
    """

    section: str
    names: tuple[str, ...]
    value: float
    unit: str
    goal: Goal | None


def measured(results: Mapping[str, Result]) -> str:
    """Give a sentence with the measured versions and the days."""
    versions = sorted({result.version for result in results.values()} - {""})
    days = sorted({result.day for result in results.values()})
    subject = f"aiocheckpoint {' and '.join(versions)}".strip()
    return f"All figures were measured with {subject} on {' and '.join(days)}."


def summary(
    rows: Iterable[Mapping[str, Any]], results: Mapping[str, Result], titles: Mapping[str, str]
) -> Iterator[str]:
    """Give the table, the number of missed goals on the page, and the missed ones outside it.

    Args:
        rows: The rows of `report.toml`: `figure`, `results`, and `of`, the names of the figure.
            Rows without a result are left out.
        results: The figures, by name of the result file.
        titles: The headings of the sections, by the same names.
    """
    figures = {(one.section, one.names): one for one in _figures(results)}
    chosen = {(row["results"], tuple(row["of"])): row["figure"] for row in rows}
    found = {key: name for key, name in chosen.items() if key in figures}
    if not found:
        return
    links = {name: f"[{title}](#{_anchor(title)})" for name, title in titles.items()}
    yield table(_HEAD, (_row(name, figures[key], links) for key, name in found.items()))
    with_goal = [one for one in figures.values() if one.goal is not None]
    missed = [one for one in with_goal if _is_missed(one)]
    yield f"Missed goals on this page: {len(missed)} of {len(with_goal)}."
    others = [one for one in missed if (one.section, one.names) not in found]
    if others:
        yield "The missed ones outside this table:"
        yield "\n".join(f"- {_described(one, links)}" for one in others)


def _figures(results: Mapping[str, Result]) -> Iterator[_Figure]:
    for name, result in results.items():
        for pair in result.pairs:
            names = pair.subject, pair.base
            yield _Figure(name, names, pair.ratio.median, "times", pair.goal)
        for single in result.singles:
            yield _Figure(name, (single.name,), single.figures.median, single.unit, single.goal)


def _row(name: str, one: _Figure, links: Mapping[str, str]) -> tuple[str, ...]:
    goal = ("none", "") if one.goal is None else (str(one.goal), outcome(one.goal, one.value))
    return name, _value(one), *goal, links[one.section]


def _is_missed(one: _Figure) -> bool:
    return one.goal is not None and not one.goal.is_met_by(one.value)


def _described(one: _Figure, links: Mapping[str, str]) -> str:
    return f"{' / '.join(one.names)}: {_value(one)}, goal {one.goal} ({links[one.section]})"


def _value(one: _Figure) -> str:
    return f"{number(one.value)} {'a second' if one.unit == '1/s' else one.unit}"


def _anchor(title: str) -> str:
    """Give the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
