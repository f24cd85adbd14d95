"""Steps drawn as SVG, in pure Python and with the same bytes each time.

Steps are boxes from left to right. A loader stands above its step and a saver below it. A double
line behind a step is a snapshot, and a gate before it is the pause of a run. Long rows are broken.
Colours are `currentColor` and those of `signs.py`, on a transparent ground.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.diagrams.diagram_steps import name_shown, with_gaps
from aiocheckpoint._display.diagrams.svg_cells import (
    ABOVE,
    LEAD,
    Cell,
    cell_of,
    draw_bars,
    draw_cell,
    sentence_of,
)
from aiocheckpoint._display.diagrams.svg_shapes import number, plain, text
from aiocheckpoint._texts import width_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._display.diagrams.diagram_steps import DiagramStep

__all__ = ["svg_of"]

_MARGIN = 12.0
_ROW_WIDTH = 880.0
_ROW_GAP = 20.0
_HEADING = 28.0
_OF_HEADING = 7.8
_LEAST_WIDTH = 110.0
_ALONE = "<style>@media(prefers-color-scheme:dark){svg:root{color:#e6edf3}}</style>"
"""In a page, where the picture is no root, it says nothing."""


def svg_of(
    steps: Sequence[DiagramStep],
    count: int | None = None,
    *,
    title: str,
    heading: bool = True,
    alone: bool = False,
) -> str:
    """Draw steps as one SVG element.

    Args:
        steps: The steps. Where indexes are missing, a box says how many steps are left out.
        count: Number of all steps, or None where it is that of `steps`.
        title: What is drawn, in a few words. It is the title of the picture.
        heading: Whether the title stands above the steps as well.
        alone: Whether it is a file of its own. Its colour is then that of a light or dark page.
            Inside a page the text has the colour of the page anyway.

    Returns:
        ASCII text, without a newline at the end. No name makes a step larger than 10 KB.
    """
    cells = [cell_of(one, LEAD if place else 0.0) for place, one in _placed(steps, count)]
    rows = _rows(cells)
    shown = name_shown(title, 100) if heading else ""
    top = _MARGIN + (_HEADING if shown else 0.0)
    drawn = list(_drawn(rows, top))
    if shown:
        drawn.insert(0, text(_MARGIN, 24, shown, 'font-size="13" font-weight="600"'))
    width = max(
        _LEAST_WIDTH,
        _OF_HEADING * width_of(shown),
        *(sum(cell.length for cell in row) for row in rows),
    )
    height = top + sum(map(_height, rows)) + _ROW_GAP * len(rows) + _MARGIN
    head = _head(width + 2 * _MARGIN, height)
    described = " ".join(plain(sentence_of(cell)) for cell in cells)
    named = f"<title>{plain(name_shown(title, 200))}</title>"
    told = (named, f"<desc>{described}</desc>", *((_ALONE,) if alone else ()))
    return "\n".join((head, *told, *drawn, "</svg>"))


def _placed(
    steps: Sequence[DiagramStep], count: int | None
) -> Iterator[tuple[int, DiagramStep | int]]:
    return enumerate(with_gaps(steps, count))


def _head(width: float, height: float) -> str:
    size = f"{number(width)} {number(height)}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'width="{number(width)}" height="{number(height)}" viewBox="0 0 {size}" '
        'fill="currentColor" font-family="system-ui,sans-serif" '
        'style="max-width:100%;height:auto">'
    )


def _rows(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Break steps into rows. Where there are several, all boxes have the same width."""
    if sum(cell.length for cell in cells) <= _ROW_WIDTH:
        return [list(cells)] if cells else []
    widest = max(cell.width for cell in cells)
    rows: list[list[Cell]] = [[]]
    room = _ROW_WIDTH
    for cell in cells:
        same = cell._replace(width=widest, lead=max(cell.lead, LEAD))
        if same.length > room and rows[-1]:
            rows.append([])
            room = _ROW_WIDTH
        rows[-1].append(same)
        room -= same.length
    return rows


def _drawn(rows: Sequence[Sequence[Cell]], y: float) -> Iterator[str]:
    for place, row in enumerate(rows):
        x, height = _MARGIN, max(cell.height for cell in row)
        top = y + (ABOVE if _loads(row) else 0.0)
        for cell in row:
            arrives = place > 0 or cell is not row[0]
            yield from draw_cell(cell, x, top, height, arrives=arrives)
            x += cell.length
        y += _height(row) + _ROW_GAP
    if rows:
        yield from draw_bars(_MARGIN, y, 10.0)
        yield text(_MARGIN + 22, y + 4, "snapshot", 'font-size="10"')


def _height(row: Sequence[Cell]) -> float:
    boxes = max(cell.height for cell in row)
    return boxes + ABOVE * (_loads(row) + _saves(row))


def _loads(row: Sequence[Cell]) -> bool:
    return any(cell.step is not None and cell.step.loader is not None for cell in row)


def _saves(row: Sequence[Cell]) -> bool:
    return any(cell.step is not None and cell.step.saver is not None for cell in row)
