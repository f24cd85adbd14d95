"""The differences between two snapshots as a card and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display import html
from aiocheckpoint._display.diff_words import (
    MARKS,
    NOTHING,
    STYLES,
    change_words,
    incomplete_words,
    snapshot_words,
)
from aiocheckpoint._display.html import ROWS_OF_LISTS, TEXT_ROOM, Html, Room, cut
from aiocheckpoint._display.run_facts import run_in_words
from aiocheckpoint._display.tables import Column, plain_lines
from aiocheckpoint._texts import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint.look import ChangeView, DiffView

__all__ = ["diff_card", "diff_text"]

_COLUMNS = (Column("", gap=" "), Column(""), Column(""), Column(""))


def diff_card(diff: DiffView) -> str:
    """Show the differences as HTML of at most 20 KB."""

    def build(room: Room) -> Html:
        run = html.strong(cut(run_in_words(diff.run_id), room.name))
        ends = f"{snapshot_words(diff, diff.old)} → {snapshot_words(diff, diff.new)}"
        rows = [_row(one, diff, room) for one in diff.changes[: room.rows]]
        words = (*_left_out(diff, room.rows), *_behind(diff))
        return html.box(
            html.title("Diff", run, cut(ends, 2 * room.text)),
            html.table(rows) if rows else Html(),
            *(html.paragraph(cut(one, room.text)) for one in words),
        )

    return html.fitted(build)


def diff_text(diff: DiffView) -> str:
    """Show the differences in lines of text."""
    ends = f"{snapshot_words(diff, diff.old)} -> {snapshot_words(diff, diff.new)}"
    rows = (
        (f"  {_mark(one)}", one.kind, cut(one.path, TEXT_ROOM.text), _words(one, diff))
        for one in diff.changes[:ROWS_OF_LISTS]
    )
    lines = [f"{run_in_words(diff.run_id)}: {ends}", *plain_lines(_COLUMNS, rows)]
    lines += [*_left_out(diff, ROWS_OF_LISTS), *_behind(diff)]
    return "\n".join(cut(one, 4 * TEXT_ROOM.text) for one in lines)


def _row(change: ChangeView, diff: DiffView, room: Room) -> Html:
    sign = html.marked(_mark(change), STYLES.get(change.kind, ""), change.kind)
    words = html.code_of(cut(_words(change, diff), room.text))
    return html.row(*map(html.cell, (sign, cut(change.path, room.name), words)))


def _mark(change: ChangeView) -> str:
    return MARKS.get(change.kind, "?")


def _words(change: ChangeView, diff: DiffView) -> str:
    return cut(change_words(change, shown=diff.shown), TEXT_ROOM.text)


def _left_out(diff: DiffView, most: int) -> Iterator[str]:
    if len(diff.changes) > most:
        yield f"… {counted(len(diff.changes) - most, 'more change')}"


def _behind(diff: DiffView) -> Iterator[str]:
    if not diff.changes and diff.complete:
        yield NOTHING
    if diff.same:
        yield f"= the same: {', '.join(diff.same)}"
    if not diff.complete:
        yield incomplete_words(diff)
