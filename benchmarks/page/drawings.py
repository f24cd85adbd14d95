"""The contents of the plots: dots and lines of figures, made of results alone, not yet drawn."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from measure.results import Compared, Quartiles, Result

__all__ = ["Dot", "Dots", "Drawing", "Line", "Lines", "digest", "drawing_of"]


@dataclass(frozen=True, slots=True)
class Dot:
    """One figure.

    Attributes:
        label: Name of the figure.
        figures: Median and quartiles.
        goal: The limit, or None.
    """

    label: str
    figures: Quartiles
    goal: float | None = None


@dataclass(frozen=True, slots=True)
class Dots:
    """Figures one below the other.

    Attributes:
        axis: Label of the axis.
        mark: Position of a line through all of them, such as 1 for ratios, or None.
        dots: The figures, from above to below.
    """

    axis: str
    mark: float | None
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line through figures of many sizes.

    Attributes:
        label: Name of the line.
        points: Size and figures.
        is_base: Whether the line shows a base.
    """

    label: str
    points: tuple[tuple[int, Quartiles], ...]
    is_base: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines, both axes logarithmic.

    Attributes:
        x: Label of the sizes.
        y: Label of the figures, with their unit.
        lines: The lines.
    """

    x: str
    y: str
    lines: tuple[Line, ...]


Drawing: TypeAlias = "Dots | Lines"


def drawing_of(result: Result, plot: dict[str, Any]) -> Drawing | None:
    """Make the drawing of a plot in `report.toml`, or None without figures for it."""
    if plot["kind"] == "ratios":
        dots = tuple(
            Dot(
                f"{pair.subject} / {pair.base}",
                pair.ratio,
                None if pair.goal is None else pair.goal.limit,
            )
            for pair in result.pairs
        )
        return Dots(plot["axis"], 1.0, dots) if dots else None
    if plot["kind"] == "medians":
        dots = tuple(_medians(result.pairs, plot["unit"]))
        return Dots(plot["axis"], None, dots) if dots else None
    lines = tuple(line for name in plot["series"] for line in _series(result.pairs, name))
    return Lines(plot["x"], plot["y"], lines) if lines else None


def digest(drawing: Drawing) -> str:
    """Give a hash of all figures of a drawing, for the metadata of its file."""
    facts = [type(drawing).__name__, asdict(drawing)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _medians(pairs: Iterable[Compared], unit: str) -> Iterator[Dot]:
    """Give each contender once, though it may have been measured in several pairs."""
    known = set[str]()
    for pair in pairs:
        for name, figures in ((pair.subject, pair.of_subject), (pair.base, pair.of_base)):
            if pair.unit == unit and name not in known:
                known.add(name)
                yield Dot(name, figures)


def _series(pairs: tuple[Compared, ...], name: str) -> Iterator[Line]:
    """Give the line of the subjects "<size> <name>", and the line of their bases."""
    sized = sorted(
        ((size, pair) for pair in pairs if (size := _size(pair, name)) is not None),
        key=lambda found: found[0],
    )
    if sized:
        yield Line(name, tuple((size, pair.of_subject) for size, pair in sized))
        bases = {pair.base for _, pair in sized}
        label = bases.pop() if len(bases) == 1 else re.sub(r"\d+", "as many", sized[0][1].base)
        yield Line(label, tuple((size, pair.of_base) for size, pair in sized), is_base=True)


def _size(pair: Compared, name: str) -> int | None:
    size, _, rest = pair.subject.partition(" ")
    return int(size) if rest == name and size.isdecimal() else None
