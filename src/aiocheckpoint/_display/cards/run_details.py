"""The parts of a run's card that open: its state, its progress as it is stored, further facts."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING

from aiocheckpoint._display import html
from aiocheckpoint._display.figures import amount_of
from aiocheckpoint._display.html import Html, Room, cut
from aiocheckpoint._display.run_facts import signature_of
from aiocheckpoint._display.tables import Column, plain_lines
from aiocheckpoint._display.times import moment, when
from aiocheckpoint._display.values import shown_value
from aiocheckpoint._texts import counted, type_shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint.look import KeyView, RunView

__all__ = [
    "facts_of",
    "fold_of_facts",
    "fold_of_state",
    "state_words",
    "stored_words",
    "value_lines",
]


def stored_words(run: RunView) -> str:
    """Say how far the step in progress was when its progress was stored last. "" if never."""
    stored = run.progress
    if stored is None:
        return ""
    words = f"{amount_of(stored.done, stored.total, stored.note)} of {stored.step!r} were done"
    if stored.at:
        words += f" {when(stored.at)}"
    if stored.cursor_size is None:
        return words
    cursor = f"{stored.cursor_size:,} bytes"
    if stored.shown:
        cursor = json.dumps(stored.cursor, ensure_ascii=False, default=repr)
    return f"{words}, cursor: {cursor}"


def state_words(run: RunView) -> str:
    """Say how large the stored state is. "" where that was not asked for."""
    sizes = _sizes(run)
    if sizes is None:
        return ""
    more = "" if run.complete else " and more"
    return f"state: {counted(len(sizes), 'key')}{more}, {counted(sum(sizes.values()), 'byte')}"


def _sizes(run: RunView) -> dict[str, int] | None:
    if run.keys is not None:
        return {one.key: one.size for one in run.keys}
    return None if run.sizes is None else dict(run.sizes)


def fold_of_state(run: RunView, room: Room) -> Html:
    """The state: its keys and their sizes, and the values if they were asked for."""
    words = state_words(run)
    if not words:
        return Html()
    every = _rows_of_values(run.keys, room) if run.keys else _rows_of_sizes(run, room)
    rows = list(islice(every, room.rows))
    left_out = len(_sizes(run) or ()) - len(rows)
    if left_out > 0:
        rows.append(html.row(html.cell(f"… {counted(left_out, 'more key')}")))
    if not rows:
        return html.paragraph(words)
    titles = ("key", "type", "bytes", "value") if run.keys else ("key", "bytes")
    heads = html.row(*(html.cell(one, number=one == "bytes", heads=True) for one in titles))
    return html.fold(words, html.table(rows, heads), shown=bool(run.keys))


def _rows_of_sizes(run: RunView, room: Room) -> Iterator[Html]:
    for key, size in (run.sizes or {}).items():
        yield html.row(html.cell(cut(key, room.name)), html.cell(f"{size:,}", number=True))


def _rows_of_values(keys: tuple[KeyView, ...], room: Room) -> Iterator[Html]:
    for one in keys:
        yield html.row(
            html.cell(cut(one.key, room.name)),
            html.cell(cut(type_shown(one.type), room.name)),
            html.cell(f"{one.size:,}", number=True),
            html.cell(html.code_of(cut(shown_value(one.value), room.text))),
        )


def value_lines(run: RunView, room: Room) -> list[str]:
    """The keys with their values as lines of text, if they were asked for."""
    rows = (
        (
            f"  {cut(one.key, room.name)}",
            cut(type_shown(one.type), room.name),
            cut(shown_value(one.value), room.text),
        )
        for one in (run.keys or ())[: room.rows]
    )
    lines = plain_lines((Column(""), Column(""), Column("")), rows)
    left_out = len(run.keys or ()) - len(lines)
    more = [f"  … {counted(left_out, 'more key')}"] if left_out > 0 else []
    return [*lines, *more]


def facts_of(run: RunView) -> Iterator[str]:
    """Further facts: when it began, its snapshot, who signed it, who changed it."""
    facts = (
        f"began {moment(run.started_at)}" if run.started_at else "",
        f"snapshot {run.sequence} of run {run.number}" if run.sequence else "",
        counted(run.size, "byte") if run.size else "",
        signature_of(run),
        "holds data" if run.holds_data else "",
        "holds code" if run.code else "",
        f"version {run.version} of the flow" if run.version else "",
        f"started {run.starts} times here" if run.starts > 1 else "",
        f"killed {run.killed} times here" if run.killed > 1 else "",
        f"changed by hand: {run.actor}" if run.actor else "",
    )
    return filter(None, facts)


def _origin_of(run: RunView) -> Iterator[str]:
    """Facts of its file, which a saved card keeps: what wrote it, and where it is."""
    if run.python and run.library:
        yield f"written by aiocheckpoint {run.library} on Python {run.python}"
    if run.location:
        yield f"in {run.location}"


def fold_of_facts(run: RunView, room: Room) -> Html:
    """The further facts, behind a line."""
    facts = [cut(one, room.text) for one in (*facts_of(run), *_origin_of(run))]
    if not facts:
        return Html()
    return html.fold("facts", html.listed(facts))
