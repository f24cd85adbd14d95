"""What changed in each step of a run, for its card and its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._display import html
from aiocheckpoint._display.diff_words import MARKS, STYLES, change_words, incomplete_words
from aiocheckpoint._display.html import Html, Room, cut
from aiocheckpoint._texts import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiocheckpoint.look import ChangeView, DiffView, RunView, SnapshotView

__all__ = ["changes_words", "fold_of_changes"]

_MOST_IN_TEXT = 4
_NAMES_IN_TEXT = 3
_LONGEST = 40
_NOTHING = "nothing"


def fold_of_changes(run: RunView, room: Room) -> Html:
    """The changes of each step, behind a line. Nothing where older snapshots are not kept.

    Args:
        run: The run.
        room: What the card may take. The newest steps stay where it is small.
    """
    told = _told(run)
    if not told:
        return Html()
    shown = told[-room.rows if room.extras else -room.rows // 2 :]
    items = [
        html.join((html.strong(cut(_label(one, run), room.name)), ": ", _of_step(one, room)))
        for one in shown
    ]
    before = len(told) - len(shown)
    if before:
        items.insert(0, html.quiet(f"… {counted(before, 'earlier step')}"))
    elif told[0].old.position:
        items.insert(0, html.quiet("… earlier steps are not kept, or not compared"))
    return html.fold("what changed in each step", html.listed(items))


def changes_words(run: RunView) -> str:
    """Say in a line what changed in the newest steps. "" where nothing is known of it."""
    told = _told(run)
    if not told:
        return ""
    first = "… " if len(told) > _MOST_IN_TEXT else ""
    words = (f"{cut(_label(one, run), _LONGEST)}: {_names(one)}" for one in told[-_MOST_IN_TEXT:])
    return f"changes: {first}{'; '.join(words)}"


def _told(run: RunView) -> list[DiffView]:
    """The diffs that tell something. A run that goes on where it was has changed nothing."""
    return [one for one in run.diffs or () if one.changes or not one.complete or _steps(one, run)]


def _of_step(diff: DiffView, room: Room) -> Html:
    """The changes of one step: with values a line each, else by their kinds."""
    most = max(2, room.rows // 4)
    shown = diff.changes[:most]
    more = [html.quiet(one) for one in _behind(diff, most, room.text)]
    if diff.shown:
        lines = [_valued(one, room) for one in shown]
        return html.join(map(html.paragraph, (*lines, *more)))
    return html.join((*(_kind(kind, paths, room) for kind, paths in _kinds(shown)), *more), ", ")


def _kind(kind: str, paths: Sequence[str], room: Room) -> Html:
    names = ", ".join(cut(path, room.name) for path in paths)
    return html.marked(MARKS.get(kind, "?"), STYLES.get(kind, ""), f"{cut(kind, _LONGEST)} {names}")


def _valued(change: ChangeView, room: Room) -> Html:
    named = _kind(change.kind, (change.path,), room)
    words = cut(change_words(change, shown=True), min(room.text, 3 * _LONGEST))
    return html.join((named, html.code_of(words)), " ")


def _names(diff: DiffView) -> str:
    groups = _kinds(diff.changes[:_NAMES_IN_TEXT])
    named = (f"{kind} {', '.join(cut(path, _LONGEST) for path in paths)}" for kind, paths in groups)
    return ", ".join((*named, *_behind(diff, _NAMES_IN_TEXT, 3 * _LONGEST)))


def _kinds(changes: Sequence[ChangeView]) -> list[tuple[str, list[str]]]:
    """The paths of changes by their kinds, in the order of the first of each."""
    kinds: dict[str, list[str]] = {}
    for one in changes:
        kinds.setdefault(one.kind, []).append(one.path)
    return list(kinds.items())


def _behind(diff: DiffView, most: int, longest: int) -> Iterator[str]:
    """What is said behind the changes that are named."""
    if len(diff.changes) > most:
        yield f"{len(diff.changes) - most:,} more"
    if not diff.complete:
        yield cut(incomplete_words(diff), longest)
    elif not diff.changes:
        yield _NOTHING


def _label(diff: DiffView, run: RunView) -> str:
    """Name the step that ran between two snapshots, or the steps, or say that none did."""
    steps = _steps(diff, run)
    if not steps:
        where = diff.new.step or _name(run, diff.new.position)
        is_back = _end(diff.old, run) > diff.new.position
        return f"back to {where}" if is_back else f"before {where}"
    first, last = _name(run, steps[0]), _name(run, steps[-1])
    if steps[0] == diff.old.position and diff.old.step is not None:
        first = diff.old.step
    return first if len(steps) == 1 else f"{first} to {last}"


def _steps(diff: DiffView, run: RunView) -> range:
    """The indexes of the steps that ran between two snapshots.

    Empty where none did: between two snapshots on entry to one step, the second by hand, and where
    a run began again at an earlier step.
    """
    old, new = diff.old, diff.new
    end = _end(new, run)
    begin = old.position if _is_known(old) else max(end - 1, 0)
    if not _is_known(new):
        end = begin + 1
    return range(begin if not _is_at_end(old) else end, end)


def _end(one: SnapshotView, run: RunView) -> int:
    """The index behind the last step that was done in a snapshot."""
    return (run.step_count or 1) if _is_at_end(one) else one.position


def _is_known(one: SnapshotView) -> bool:
    """Whether the header of a snapshot could be read."""
    return one.written_at != 0.0


def _is_at_end(one: SnapshotView) -> bool:
    return _is_known(one) and one.step is None and one.position == 0


def _name(run: RunView, index: int) -> str:
    names = (step.name for step in run.steps if step.index == index)
    return next(names, f"step {index + 1}")
