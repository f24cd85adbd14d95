"""The differences between two snapshots, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._cli.output import Cell, Column, Output, Styled
from aiocheckpoint._display.values import shown_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint.look import ChangeView, DiffView, SnapshotView

__all__ = ["print_diff"]

_MARKS = {"added": "+", "removed": "-", "changed": "~", "rewritten": "?"}
_STYLES = {"added": "finished", "removed": "failed", "changed": "paused", "rewritten": "paused"}
_COLUMNS = (Column("", gap=" "), Column(""), Column("", cut="middle"))


def print_diff(diff: DiffView, output: Output) -> None:
    """Print the two snapshots, the changes by path, and the keys that are the same."""
    old, new = diff.old, diff.new
    with_run = old.number != new.number
    output.data(f"{_snapshot(old, with_run)} -> {_snapshot(new, with_run)}")
    output.table(_COLUMNS, (_row(one, diff.shown) for one in diff.changes), titled=False)
    if diff.same:
        output.data(f"= {', '.join(diff.same)}")
    if not diff.changes:
        output.words("Nothing differs.")
    if not diff.complete:
        output.words("The states are too large to be compared as a whole: there may be more.")


def _snapshot(one: SnapshotView, with_run: bool) -> str:  # noqa: FBT001 - a fact
    where = "at the end" if one.step is None else f"on entry to {one.step!r}"
    return f"{where} (snapshot {one.sequence}{f' of run {one.number}' if with_run else ''})"


def _row(change: ChangeView, shown: bool) -> list[Cell]:  # noqa: FBT001 - a fact
    mark = Styled(_MARKS.get(change.kind, "?"), _STYLES.get(change.kind, "quiet"))
    return [mark, change.path, " ".join(_words(change, shown))]


def _words(change: ChangeView, shown: bool) -> Iterator[str]:  # noqa: FBT001 - a fact
    old, new = change.old_type, change.new_type
    if shown:
        old = None if old is None else shown_value(change.old)
        new = None if new is None else shown_value(change.new)
    if old is not None and new is not None and (shown or old != new):
        yield f"{old} -> {new}"
    else:
        yield new if new is not None else old or ""
    if change.kind == "rewritten":
        yield "(pickled in another way, so that it may be the same)"
