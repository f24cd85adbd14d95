"""Steps drawn as text.

Steps are boxes below each other. A loader stands above its step and a saver below it. A double line
between two steps is a snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._display.diagrams.diagram_steps import name_shown, with_gaps
from aiocheckpoint._display.signs import sign_of
from aiocheckpoint._texts import width_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aiocheckpoint._display.diagrams.diagram_steps import DiagramStep

__all__ = ["ASCII", "LINES", "Strokes", "draw", "text_of"]

_MOST_COLUMNS = 48
_MOST_BESIDE = 200


class Strokes(NamedTuple):
    """The characters that boxes and lines are made of."""

    top: str
    side: str
    bottom: str
    across: str
    snapshot: str
    into: str
    dots: str


LINES = Strokes("┌┐", "│", "└┘", "─", "═", "↓", "…")
ASCII = Strokes("++", "|", "++", "-", "=", "v", "...")


def text_of(
    steps: Sequence[DiagramStep], count: int | None, *, title: str, ascii_only: bool = False
) -> str:
    """Draw steps below a title, each with the sign of its status.

    Args:
        steps: The steps. Where indexes are missing, a line says how many steps are left out.
        count: Number of all steps, or None where it is that of `steps`.
        title: What is drawn.
        ascii_only: Whether boxes and signs are ASCII.
    """
    strokes = ASCII if ascii_only else LINES
    drawn = draw(
        steps,
        count,
        strokes=strokes,
        sign=lambda status: sign_of(status).ascii if ascii_only else sign_of(status).sign,
    )
    shown = name_shown(title, _MOST_BESIDE, strokes.dots).rstrip()
    return "\n".join(filter(None, (shown, drawn)))


def draw(
    steps: Sequence[DiagramStep],
    count: int | None = None,
    *,
    strokes: Strokes = LINES,
    sign: Callable[[str], str] | None = None,
) -> str:
    """Draw steps below each other.

    Args:
        steps: The steps. Where indexes are missing, a line says how many steps are left out.
        count: Number of all steps, or None where it is that of `steps`.
        strokes: The characters to draw with.
        sign: Gives the sign of a step's status.

    Returns:
        The lines, without a newline at the end. Names cannot steer a terminal.
    """
    labels = {step.index: _label(step, strokes, sign) for step in steps}
    width = max(map(width_of, labels.values()), default=0)
    line = strokes.snapshot * (width + 4)
    lines: list[str] = []
    for one in with_gaps(steps, count):
        if lines:
            lines.append(line)
        if isinstance(one, int):
            lines.append(f"  {strokes.dots} {one} more")
            continue
        label = labels[one.index]
        lines += _box(one, label + " " * (width - width_of(label)), strokes)
    if steps:
        lines.append(line)
    return "\n".join(one.rstrip() for one in lines)


def _label(step: DiagramStep, strokes: Strokes, sign: Callable[[str], str] | None) -> str:
    name = name_shown(step.name, _MOST_COLUMNS, strokes.dots)
    shown = "" if step.status is None or sign is None else f"{sign(step.status)} "
    return f"{shown}{step.index + 1}  {name}"


def _box(step: DiagramStep, label: str, strokes: Strokes) -> Iterator[str]:
    line = strokes.across * (width_of(label) + 2)
    beside = name_shown(", ".join((*step.badges, *step.notes)), _MOST_BESIDE, strokes.dots)
    if step.loader is not None:
        yield f"  {strokes.into} {name_shown(step.loader, _MOST_COLUMNS, strokes.dots)}"
    yield f"{strokes.top[0]}{line}{strokes.top[1]}"
    yield f"{strokes.side} {label} {strokes.side}  {beside}"
    yield f"{strokes.bottom[0]}{line}{strokes.bottom[1]}"
    if step.saver is not None:
        yield f"  {strokes.into} {name_shown(step.saver, _MOST_COLUMNS, strokes.dots)}"
