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
from aiocheckpoint._display.html import Html, Room, cut
from aiocheckpoint._display.run_facts import run_in_words
from aiocheckpoint._display.tables import Column, plain_lines
from aiocheckpoint._texts import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint.look import ChangeView, DiffView

__all__ = ["diff_card", "diff_text"]

_MOST = 100
_LONGEST = 500
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
        (f"  {MARKS.get(one.kind, '?')}", one.kind, cut(one.path, _LONGEST), _words(one, diff))
        for one in diff.changes[:_MOST]
    )
    lines = [f"{run_in_words(diff.run_id)}: {ends}", *plain_lines(_COLUMNS, rows)]
    return "\n".join(
        cut(one, 3 * _LONGEST) for one in (*lines, *_left_out(diff, _MOST), *_behind(diff))
    )


def _row(change: ChangeView, diff: DiffView, room: Room) -> Html:
    sign = html.marked(MARKS.get(change.kind, "?"), STYLES.get(change.kind, ""), change.kind)
    words = html.code_of(cut(_words(change, diff), room.text))
    return html.row(*map(html.cell, (sign, cut(change.path, room.name), words)))


def _words(change: ChangeView, diff: DiffView) -> str:
    return cut(change_words(change, shown=diff.shown), _LONGEST)


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
