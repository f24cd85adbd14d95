"""A flow as a card and as text: its place, its steps, and what is stored of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocheckpoint._display import html
from aiocheckpoint._display.cards.flow_facts import (
    how_words,
    last_times,
    newest_words,
    part_words,
)
from aiocheckpoint._display.diagrams.diagram_steps import nearest, of_steps
from aiocheckpoint._display.diagrams.diagram_svg import svg_of
from aiocheckpoint._display.folding import Gap, folded
from aiocheckpoint._display.html import TEXT_ROOM, Html, Room, cut
from aiocheckpoint._display.signs import with_sign
from aiocheckpoint._display.step_words import limits_of
from aiocheckpoint._display.tables import Column, plain_lines
from aiocheckpoint._texts import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiocheckpoint._display.cards.flow_facts import FlowFacts
    from aiocheckpoint._model.steps import Step
    from aiocheckpoint.look._glance import Glance

__all__ = ["flow_card", "flow_text"]

_COLUMNS = (Column("", right=True), *(Column("") for _ in range(5)))
_MOST_IN_DIAGRAM = 12
_NO_STEPS = "It has no steps yet. Register them with @cp.add_step()."


class _Mark(NamedTuple):
    """A status in a line, shown by its sign and its word."""

    status: str


def flow_card(facts: FlowFacts) -> str:
    """Show a flow as HTML of at most 20 KB."""

    def build(room: Room) -> Html:
        rows = [_row(one, room) for one in _rows(facts, room.rows)]
        return html.box(
            html.title("Flow", html.strong(cut(facts.name, room.name)), *_title(facts, room)),
            html.table(rows) if rows else html.paragraph(_NO_STEPS),
            _diagram(facts) if rows and room.extras else Html(),
            *(_html_of(one, room) for one in _stored(facts)),
        )

    return html.fitted(build)


def flow_text(facts: FlowFacts) -> str:
    """Show a flow in lines of text."""
    cells = [
        (("", f"… {one.words}", "", "", "", "") if isinstance(one, Gap) else _plain(one))
        for one in _rows(facts, TEXT_ROOM.rows)
    ]
    lines = [" · ".join((cut(facts.name, TEXT_ROOM.name), *_title(facts, TEXT_ROOM)))]
    lines += plain_lines(_COLUMNS, cells) if cells else [_NO_STEPS]
    return "\n".join(filter(None, (*lines, *map(_text_of, _stored(facts)))))


def _title(facts: FlowFacts, room: Room) -> Iterator[str]:
    yield cut(facts.place, 2 * room.name)
    yield counted(len(facts.steps), "step")
    yield cut(", ".join(facts.options), room.text)


def _rows(facts: FlowFacts, most: int) -> Iterator[tuple[str, ...] | Gap]:
    times = last_times(facts)
    for index in folded(range(len(facts.steps)), None, most):
        yield index if isinstance(index, Gap) else _cells(facts.steps[index], index, times)


def _cells(step: Step, index: int, times: Mapping[str, str]) -> tuple[str, ...]:
    words = how_words(step), part_words(step), ", ".join(limits_of(step))
    return f"{index + 1:,}", step.name, *words, times.get(step.name, "")


def _row(row: tuple[str, ...] | Gap, room: Room) -> Html:
    if isinstance(row, Gap):
        return html.row(html.cell(), html.cell(html.quiet(f"… {row.words}")))
    number, name, *words = row
    first = (html.cell(number, number=True), html.cell(html.strong(cut(name, room.name))))
    return html.row(*first, *(html.cell(cut(one, room.name)) for one in words))


def _plain(row: tuple[str, ...]) -> tuple[str, ...]:
    number, *words = row
    return (f"  {number}", *(cut(one, TEXT_ROOM.name) for one in words))


def _diagram(facts: FlowFacts) -> Html:
    steps = nearest(of_steps(facts.steps), None, _MOST_IN_DIAGRAM)
    # The builders of SVG escape as those of HTML do.
    picture = Html(svg_of(steps, len(facts.steps), title=facts.name, heading=False))
    return html.fold("diagram", picture)


def _stored(facts: FlowFacts) -> Iterator[tuple[str | _Mark, ...]]:
    """What is stored, or why that is unknown, in lines of words and signs."""
    stored = facts.stored
    if stored is None:
        yield (facts.problem,) if facts.problem else ()
        return
    if not stored.counts:
        yield ("nothing is stored yet",)
        return
    newest, total = stored.newest, sum(stored.counts.values())
    is_only = newest is not None and newest.run_id is None and total == 1
    if not is_only:
        yield ("stored runs:", *_counted(stored))
    if newest is not None:
        label = "stored run:" if is_only else "the newest:"
        yield label, _Mark(newest.status), newest_words(newest)


def _counted(stored: Glance) -> Iterator[str | _Mark]:
    rows = sorted(stored.counts.items(), key=lambda row: -row[1])
    for place, (status, count) in enumerate(rows):
        yield f"· {count:,}" if place else f"{count:,}"
        yield _Mark(status)
    if not stored.complete:
        yield f"· more, as only {sum(stored.counts.values()):,} were counted"


def _html_of(line: tuple[str | _Mark, ...], room: Room) -> Html:
    parts = (
        html.sign(one.status) if isinstance(one, _Mark) else cut(one, room.text) for one in line
    )
    return html.paragraph(html.join(parts, " "))


def _text_of(line: tuple[str | _Mark, ...]) -> str:
    parts = (with_sign(one.status) if isinstance(one, _Mark) else one for one in line)
    return cut(" ".join(filter(None, parts)), 4 * TEXT_ROOM.text)
