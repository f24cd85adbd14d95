"""The differences between two snapshots, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.output import Cell, Column, Output, Styled
from aiocheckpoint._display.diff_words import (
    MARKS,
    NOTHING,
    STYLES,
    change_words,
    incomplete_words,
    snapshot_words,
)

if TYPE_CHECKING:
    from aiocheckpoint.look import ChangeView, DiffView

__all__ = ["print_diff"]

_COLUMNS = (Column("", gap=" "), Column(""), Column("", cut="middle"))


def print_diff(diff: DiffView, output: Output) -> None:
    """Print the two snapshots, the changes by path, and the keys that are the same."""
    output.data(f"{snapshot_words(diff, diff.old)} -> {snapshot_words(diff, diff.new)}")
    output.table(_COLUMNS, (_row(one, diff) for one in diff.changes), titled=False)
    if diff.same:
        output.data(f"= {', '.join(diff.same)}")
    if not diff.changes:
        output.words(NOTHING)
    if not diff.complete:
        output.words(incomplete_words(diff))


def _row(change: ChangeView, diff: DiffView) -> list[Cell]:
    mark = Styled(MARKS.get(change.kind, "?"), STYLES.get(change.kind, "quiet"))
    return [mark, change.path, change_words(change, shown=diff.shown)]
