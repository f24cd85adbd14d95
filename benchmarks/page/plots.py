"""Draws the plots with matplotlib, the same bytes each time with the same release of it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from page.drawings import Dots, digest

if TYPE_CHECKING:
    from pathlib import Path

    from measure.results import Quartiles

    from page.drawings import Drawing, Lines

__all__ = ["CAN_DRAW", "SOURCE", "draw"]

CAN_DRAW = find_spec("matplotlib") is not None
SOURCE = "Source"
"""The key of the drawing's hash in the metadata of a PNG."""

_WIDTH = 9.0
_FEW = 10
"""The largest span of an axis that has room for numbers between the powers of ten."""


def draw(drawing: Drawing, path: Path) -> None:
    """Draw into a PNG file. Its metadata names the drawing and the release of matplotlib."""
    style: Any = import_module("matplotlib.style")
    with style.context("default"):  # independent of the user's settings
        height = 1.2 + 0.4 * len(drawing.dots) if isinstance(drawing, Dots) else 4.5
        figure: Any = import_module("matplotlib.figure").Figure((_WIDTH, height))
        figure.set_layout_engine("constrained")
        if isinstance(drawing, Dots):
            _draw_dots(figure.add_subplot(), drawing)
        else:
            _draw_lines(figure.add_subplot(), drawing)
        figure.savefig(path, dpi=100, metadata={SOURCE: digest(drawing)})


def _draw_dots(axes: Any, drawing: Dots) -> None:  # noqa: ANN401 - of matplotlib
    if drawing.mark is not None:
        axes.axvline(drawing.mark, color="grey", linewidth=1)
    for row, dot in enumerate(drawing.dots):
        errors = _errors(dot.figures)
        axes.errorbar(dot.figures.median, row, xerr=errors, color="C0", marker="o", capsize=3)
        if dot.goal is not None:
            axes.plot([dot.goal, dot.goal], [row - 0.4, row + 0.4], color="C3", linewidth=3)
    axes.set_yticks(range(len(drawing.dots)), [dot.label for dot in drawing.dots])
    axes.invert_yaxis()
    axes.set_xscale("log")
    _write_numbers(axes.xaxis)
    axes.set_xlabel(drawing.axis)


def _write_numbers(axis: Any) -> None:  # noqa: ANN401 - of matplotlib
    """Have "0.4" at an axis, not "4 times ten to the minus first"."""
    ticker: Any = import_module("matplotlib.ticker")
    axis.set_major_formatter("{x:,g}")
    least, most = axis.get_view_interval()
    crowded = most / least > _FEW
    axis.set_minor_formatter(ticker.NullFormatter() if crowded else "{x:,g}")


def _draw_lines(axes: Any, drawing: Lines) -> None:  # noqa: ANN401 - of matplotlib
    for number, line in enumerate(drawing.lines):
        sizes = [size for size, _ in line.points]
        errors = zip(*(_errors(figures) for _, figures in line.points), strict=True)
        axes.errorbar(
            sizes,
            [figures.median for _, figures in line.points],
            yerr=[[one for (one,) in side] for side in errors],
            label=line.label,
            linestyle="dashed" if line.is_base else "solid",
            color=f"C{number // 2}",
            marker="o",
            capsize=3,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    _write_numbers(axes.xaxis)
    _write_numbers(axes.yaxis)
    axes.set_xlabel(drawing.x)
    axes.set_ylabel(drawing.y)
    axes.legend()


def _errors(figures: Quartiles) -> tuple[list[float], list[float]]:
    """Give how far the quartiles are from the median, below and above."""
    return [figures.median - figures.p25], [figures.p75 - figures.median]
