"""The differences between two snapshots in words, for cards, texts and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display.values import shown_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocheckpoint.look import ChangeView, DiffView, SnapshotView

__all__ = ["MARKS", "NOTHING", "STYLES", "change_words", "incomplete_words", "snapshot_words"]

MARKS = {"added": "+", "removed": "-", "changed": "~", "rewritten": "?"}
STYLES = {"added": "finished", "removed": "failed", "changed": "paused", "rewritten": "paused"}
"""The status in whose colour a change is shown."""
NOTHING = "Nothing differs."


def snapshot_words(diff: DiffView, one: SnapshotView) -> str:
    """Name one of the two snapshots, and its run where they are of two."""
    where = "at the end" if one.step is None else f"on entry to {one.step!r}"
    of = f" of run {one.number}" if diff.old.number != diff.new.number else ""
    return f"{where} (snapshot {one.sequence}{of})"


def incomplete_words(diff: DiffView) -> str:
    """Say why two snapshots were not compared as a whole."""
    for one in (diff.old, diff.new):
        if one.damage is not None:
            return f"Not compared: snapshot {one.sequence} is damaged: {one.damage}"
    return "The states are too large to be compared as a whole: there may be more."


def change_words(change: ChangeView, *, shown: bool) -> str:
    """Say what a change is: of values if they are shown, else of types."""
    return " ".join(_words(change, shown=shown))


def _words(change: ChangeView, *, shown: bool) -> Iterator[str]:
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
