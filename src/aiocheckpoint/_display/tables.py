"""Tables of plain text: aligned columns, cut to a terminal, never cut in a pipe."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Literal, NamedTuple

from aiocheckpoint._texts import cut_middle, cut_start, harmless, width_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Cell", "Column", "Styled", "lay_out", "plain_lines"]

_BLOCK = 1_000
"""Rows by which the widths are decided, so that any number of rows takes the same memory."""
_LEAST = 8
"""Columns of a terminal that a cut cell keeps."""


class Styled(NamedTuple):
    """A text with a style: the name of a status, "title" or "quiet"."""

    text: str
    style: str


Cell = str | Styled


class Column(NamedTuple):
    """A column.

    Attributes:
        title: Its title.
        right: Whether its texts stand on the right, as numbers do.
        cut: What is cut out of a long text on a terminal: the "middle" of ids, which differ at
            their ends, or the "start" of dotted names. None for nothing.
        gap: What stands between it and the next column.
    """

    title: str
    right: bool = False
    cut: Literal["middle", "start"] | None = None
    gap: str = "  "


def lay_out(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    *,
    width: int | None,
    header: bool,
    dots: str,
) -> Iterator[tuple[Cell, ...]]:
    """Give the lines of a table, each as the parts of one line.

    Args:
        columns: The columns.
        rows: The rows, with a cell for each column.
        width: The columns of the terminal, or None to cut nothing.
        header: Whether the titles come first.
        dots: What stands for the middle of a cut text.
    """
    cleaned = (tuple(_clean(cell) for cell in row) for row in rows)
    first = list(islice(cleaned, _BLOCK))
    titles = [tuple(Styled(one.title, "title") for one in columns)] if header else []
    widths = [max((width_of(_text(row[i])) for row in chain(titles, first)), default=0)
              for i in range(len(columns))]  # fmt: skip
    if width is not None:
        _narrow(widths, columns, width)
    for row in chain(titles, first, cleaned):
        yield tuple(_line(row, columns, widths, dots if width is not None else None))


def plain_lines(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell]], *, header: bool = False
) -> list[str]:
    """Give the lines of a table without styles, and without spaces at their ends.

    Args:
        columns: The columns.
        rows: The rows, with a cell for each column.
        header: Whether the titles come first.
    """
    lines = lay_out(columns, rows, width=None, header=header, dots="…")
    return ["".join(map(_text, line)).rstrip() for line in lines]


def _clean(cell: Cell) -> Cell:
    if isinstance(cell, Styled):
        return Styled(harmless(cell.text), cell.style)
    return harmless(cell)


def _text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Styled) else cell


def _narrow(widths: list[int], columns: Sequence[Column], width: int) -> None:
    """Take from the widest column that may be cut until the table fits, or none may be cut."""
    excess = sum(widths) + sum(len(one.gap) for one in columns[:-1]) - width
    while excess > 0:
        open_ones = [i for i, one in enumerate(columns) if one.cut and widths[i] > _LEAST]
        if not open_ones:
            return
        widths[max(open_ones, key=lambda i: widths[i])] -= 1
        excess -= 1


def _line(
    row: Sequence[Cell], columns: Sequence[Column], widths: Sequence[int], dots: str | None
) -> Iterator[Cell]:
    last = len(columns) - 1
    for index, (cell, column, width) in enumerate(zip(row, columns, widths, strict=True)):
        text = _text(cell)
        if dots is not None and column.cut == "middle":
            text = cut_middle(text, width, dots)
        elif dots is not None and column.cut == "start":
            text = cut_start(text, width, dots)
        bare = width_of(text)
        before = " " * (width - bare) if column.right else ""
        after = "" if index == last else " " * (width - bare - len(before)) + column.gap
        yield before
        yield Styled(text, cell.style) if isinstance(cell, Styled) else text
        yield after
