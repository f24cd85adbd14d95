"""Steps drawn as text of Mermaid, which GitHub and JupyterLab draw themselves.

A loader is above its step, a saver below it, and a thick arrow between two steps is a snapshot.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiocheckpoint._display.diagrams.diagram_steps import (
    MOST_STEPS,
    folded,
    name_shown,
    nearest,
    with_gaps,
)
from aiocheckpoint._display.signs import SIGNS, sign_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint._display.diagrams.diagram_steps import DiagramStep

__all__ = ["mermaid_of"]

_NAME_COLUMNS = 40
_NOTE_COLUMNS = 80
_MOST_CHARACTERS = 40_000
"""Mermaid refuses texts of more than 50,000, and more than 500 arrows."""
_FEWEST_STEPS = 3
_SPECIAL = re.compile("[^0-9A-Za-z _.,()/\u0080-\U0010ffff]")
_NAMED = {"\\": "bsol", "$": "dollar", ":": "colon"}
"""Mermaid reads numbers of characters before it looks for line breaks, formulas and icons."""
_MARKS = str.maketrans({"\ufb02": "\\ufb02", "\xb6": "\\xb6"})
"""Mermaid marks entities inside by these two characters, and takes them for marks in names."""


def mermaid_of(
    steps: Sequence[DiagramStep],
    count: int | None = None,
    *,
    title: str,
    at: int | None = None,
) -> str:
    """Draw steps below each other.

    Args:
        steps: The steps. Where indexes are missing, a node says how many steps are left out.
        count: Number of all steps, or None where it is that of `steps`.
        title: What is drawn, in a few words.
        at: Index of the step at which a run stands, or None. Where the text would be too long for
            Mermaid, the steps around it stay.

    Returns:
        The text, without a newline at the end.
    """
    most, shown = MOST_STEPS, folded(steps, at)
    all_steps = len(steps) if count is None else count
    while len(drawn := "\n".join(_lines(shown, all_steps, title))) > _MOST_CHARACTERS:
        if most <= _FEWEST_STEPS:
            break
        most //= 2
        shown = nearest(steps, at, most)
    return drawn


def _lines(steps: Sequence[DiagramStep], count: int, title: str) -> Iterator[str]:
    yield "flowchart TB"
    if title.strip():
        yield f"accTitle: {_escaped(name_shown(title.strip(), _NOTE_COLUMNS))}"
    before = ""
    for place, one in enumerate(with_gaps(steps, count)):
        if isinstance(one, int):
            first = last = f"more{place}"
            yield f'{first}["… {one} more"]'
        else:
            last = f"step{one.index + 1}"
            first = f"gate{one.index + 1}" if one.status == "paused" else last
            yield from _step(one, last)
            if first != last:
                yield f'{first}{{{{"{sign_of("paused").sign}"}}}} ==> {last}'
        if before:
            yield f"{before} ==> {first}"
        before = last
    yield from _colours(steps)


def _step(step: DiagramStep, node: str) -> Iterator[str]:
    sign = "" if step.status is None else f"{sign_of(step.status).sign} "
    label = f"{sign}{step.index + 1} {name_shown(step.name, _NAME_COLUMNS)}".rstrip()
    beside = name_shown(", ".join((*step.badges, *step.notes)), _NOTE_COLUMNS)
    second = f"\n{_escaped(beside)}" if beside else ""
    if step.loader is not None:
        loader = _escaped(name_shown(step.loader, _NAME_COLUMNS))
        yield f'load{step.index + 1}(["{loader}"]) --> {node}'
    yield f'{node}["{_escaped(label)}{second}"]'
    if step.saver is not None:
        saver = _escaped(name_shown(step.saver, _NAME_COLUMNS))
        yield f'{node} --> save{step.index + 1}(["{saver}"])'


def _colours(steps: Sequence[DiagramStep]) -> Iterator[str]:
    statuses = dict.fromkeys(step.status for step in steps if step.status in SIGNS)
    for place, status in enumerate(filter(None, statuses)):
        nodes = ",".join(f"step{step.index + 1}" for step in steps if step.status == status)
        yield f"classDef status{place} stroke:{sign_of(status).colour},stroke-width:2px"
        yield f"class {nodes} status{place}"


def _escaped(text: str) -> str:
    """Write what means something to Mermaid, Markdown or HTML as entities of Mermaid."""
    return _SPECIAL.sub(
        lambda found: f"#{_NAMED.get(found[0], ord(found[0]))};", text.translate(_MARKS)
    )
