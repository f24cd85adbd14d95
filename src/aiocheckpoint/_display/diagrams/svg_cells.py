"""One step of an SVG diagram: how much room it takes, and its shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._display.diagrams.diagram_steps import name_shown
from aiocheckpoint._display.diagrams.svg_shapes import MONO, arrow, box, line, text
from aiocheckpoint._display.signs import sign_of
from aiocheckpoint._texts import width_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aiocheckpoint._display.diagrams.diagram_steps import DiagramStep

__all__ = ["ABOVE", "LEAD", "Cell", "cell_of", "draw_bars", "draw_cell", "sentence_of"]

LEAD = 24.0
"""The room for the arrow to a box."""
_PILL = 22.0
_ARROW = 16.0
ABOVE = _PILL + _ARROW
"""The room for loaders above a row, and for savers below it."""
_GATE = 34.0
_BAR_AT = 12.0
_BARS = 4.0
_LEAST_WIDTH = 84.0
_LINE = 15.0
_NAME_COLUMNS = 28
_NOTE_COLUMNS = 30
_MOST_LINES = 5
_MOST_SAID = 8
_OF_NAME, _OF_PART, _OF_NOTE = 7.9, 6.7, 6.1
"""Widths of a column in the three fonts, as wide as in the widest of the usual ones."""
_MIDDLE = 'text-anchor="middle"'
_PART = f'{_MIDDLE} font-family="{MONO}" font-size="11"'
_NAME = f'{_MIDDLE} font-family="{MONO}" font-size="13" font-weight="600"'
_NOTE = f'{_MIDDLE} font-size="11"'
_CORNER = 'font-size="10"'
_FAINT, _CLEAR = 0.3, 0.75


class Cell(NamedTuple):
    """A step, or a number of steps that are left out, with the room that it takes.

    Attributes:
        shown: The step, or the number.
        width: The width of its box.
        lead: The room before its box.
        notes: The lines under its name.
    """

    shown: DiagramStep | int
    width: float
    lead: float
    notes: tuple[str, ...] = ()

    @property
    def length(self) -> float:
        """The whole width."""
        return self.lead + self.width + _BAR_AT + _BARS

    @property
    def height(self) -> float:
        """The height that its box needs."""
        return 44.0 + _LINE * len(self.notes)

    @property
    def step(self) -> DiagramStep | None:
        """The step, or None where steps are left out."""
        return None if isinstance(self.shown, int) else self.shown


def cell_of(one: DiagramStep | int, lead: float) -> Cell:
    """Measure a step, or a number of steps that are left out.

    Args:
        one: The step, or the number.
        lead: The room before its box. A gate takes more.
    """
    if isinstance(one, int):
        return Cell(one, _OF_NOTE * width_of(_more(one)) + 24, lead)
    notes = (*_packed(one.notes), *_packed(one.badges))[:_MOST_LINES]
    parts = [name_shown(part, _NAME_COLUMNS) for part in (one.loader, one.saver) if part]
    width = max(
        _LEAST_WIDTH,
        _OF_NAME * width_of(name_shown(one.name, _NAME_COLUMNS)) + 40,
        *(_OF_NOTE * width_of(note) + 20 for note in notes),
        *(_OF_PART * width_of(part) + 24 for part in parts),
    )
    return Cell(one, width, lead + (_GATE if one.status == "paused" else 0.0), notes)


def _packed(words: Iterable[str]) -> tuple[str, ...]:
    """Put words into lines, each with as many as there is room for."""
    lines: list[str] = []
    for word in words:
        shown = name_shown(word, _NOTE_COLUMNS)
        joined = f"{lines[-1]} \N{MIDDLE DOT} {shown}" if lines else shown
        if lines and width_of(joined) <= _NOTE_COLUMNS:
            lines[-1] = joined
        else:
            lines.append(shown)
    return tuple(lines)


def sentence_of(cell: Cell) -> str:
    """Describe a step in words, for people who cannot see the picture."""
    step = cell.step
    if step is None:
        return f"{_more(cell.shown)}."
    name, loader, saver = (
        name_shown(part or "", _NAME_COLUMNS) for part in (step.name, step.loader, step.saver)
    )
    facts = (
        f"loader {loader}" if loader else "",
        f"saver {saver}" if saver else "",
        *((step.status,) if step.status in {"done", "waiting"} else ()),
        *(name_shown(note, _NOTE_COLUMNS) for note in (*step.notes, *step.badges)[:_MOST_SAID]),
    )
    return f"{', '.join(filter(None, (f'{step.index + 1} {name}', *facts)))}."


def _more(left_out: object) -> str:
    return f"\N{HORIZONTAL ELLIPSIS} {left_out} more"


# --- shapes


def draw_cell(cell: Cell, x: float, y: float, height: float, *, arrives: bool) -> Iterator[str]:
    """Draw a step: what leads to it, its loader, its box, its saver, and its snapshot.

    Args:
        cell: The step, or the number of steps that are left out.
        x: Where its room begins.
        y: Where its box begins. A loader is above.
        height: The height of its box.
        arrives: Whether an arrow leads to it.
    """
    step, left, middle = cell.step, x + cell.lead, x + cell.lead + cell.width / 2
    is_paused = step is not None and step.status == "paused"
    if arrives:
        end = left - (_GATE if is_paused else 0.0) - 2
        yield arrow(x, y + height / 2, end, y + height / 2, _CLEAR)
    if is_paused:
        yield from _gate(left - _GATE + 6, y + height / 2)
    if step is None:
        yield box((left, y + height / 2 - 13), (cell.width, 26), 13, _border("2 3"))
        yield text(middle, y + height / 2 + 4, _more(cell.shown), _NOTE)
    else:
        if step.loader is not None:
            yield from _part(middle, y - ABOVE, cell, step.loader)
            yield arrow(middle, y - _ARROW, middle, y - 2, _CLEAR)
        yield from _box(cell, step, left, y, height)
        if step.saver is not None:
            yield arrow(middle, y + height, middle, y + height + _ARROW - 2, _CLEAR)
            yield from _part(middle, y + height + _ARROW, cell, step.saver)
    is_stored = step is None or step.status in {None, "done"}
    yield from draw_bars(left + cell.width, y + height / 2, 36.0, is_stored=is_stored)


def draw_bars(x: float, y: float, height: float, *, is_stored: bool = True) -> Iterator[str]:
    """Draw a snapshot: a line from a box to two bars."""
    opacity = f'stroke="currentColor" stroke-opacity="{_CLEAR if is_stored else _FAINT:g}"'
    top, bottom, at = y - height / 2, y + height / 2, x + _BAR_AT
    yield line(x, y, at, y, opacity)
    yield line(at, top, at, bottom, opacity)
    yield line(at + _BARS, top, at + _BARS, bottom, opacity)


def _box(cell: Cell, step: DiagramStep, x: float, y: float, height: float) -> Iterator[str]:
    yield box((x, y), (cell.width, height), 6, _ground(step.status))
    yield text(x + 6, y + 13, f"{step.index + 1}", _CORNER)
    if step.status is not None:
        sign = sign_of(step.status)
        style = f'text-anchor="end" font-size="12" fill="{sign.colour}"'
        yield text(x + cell.width - 6, y + 14, sign.sign, style)
    middle, top = x + cell.width / 2, y + (height - cell.height) / 2
    yield text(middle, top + 28, name_shown(step.name, _NAME_COLUMNS), _NAME)
    for place, note in enumerate(cell.notes, 1):
        yield text(middle, top + 28 + _LINE * place, note, _NOTE)


def _ground(status: str | None) -> str:
    if status is None or status == "waiting":
        return _border("" if status is None else "4 3")
    colour = sign_of(status).colour
    return f'fill="{colour}" fill-opacity=".09" stroke="{colour}" stroke-width="1.5"'


def _border(dashes: str) -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'fill="currentColor" fill-opacity=".03" stroke="currentColor" stroke-opacity=".5"{dashed}'
    )


def _part(middle: float, y: float, cell: Cell, name: str) -> Iterator[str]:
    shown = name_shown(name, _NAME_COLUMNS)
    width = min(cell.width, _OF_PART * width_of(shown) + 24)
    style = 'fill="none" stroke="currentColor" stroke-opacity=".35"'
    yield box((middle - width / 2, y), (width, _PILL), _PILL / 2, style)
    yield text(middle, y + 15, shown, _PART)


def _gate(x: float, y: float) -> Iterator[str]:
    """Draw a closed gate: two posts, and bars between them."""
    colour = sign_of("paused").colour
    yield box((x, y - 19), (3, 38), 1.5, f'fill="{colour}"')
    yield box((x + 19, y - 19), (3, 38), 1.5, f'fill="{colour}"')
    for bar in (-12, 0, 12):
        yield line(x + 3, y + bar, x + 19, y + bar, f'stroke="{colour}" stroke-width="1.5"')
    yield line(x + 3, y + 12, x + 19, y - 12, f'stroke="{colour}" stroke-width="1.5"')
