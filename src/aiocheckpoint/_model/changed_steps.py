"""The error for a flow whose steps are not the ones of the stored run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._model.step_names import BESIDE, MOST_NAMES, ListedStepNames
from aiocheckpoint.errors import FlowChangedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.step_names import RecordedStepNames

__all__ = ["flow_changed"]


def flow_changed(
    location: str, header: Header, current: tuple[str, ...], position: int
) -> FlowChangedError:
    """Make the error.

    Args:
        location: Where the snapshot is.
        header: Its header.
        current: The step names of the flow.
        position: How many steps must have their old names.
    """
    recorded = header.step_names
    difference = _first_difference(recorded, current, position)
    return FlowChangedError(
        location,
        header.steps or (),
        current,
        position,
        header.excerpt,
        change=_described(recorded, current, position, difference),
        difference=difference,
    )


def _first_difference(
    recorded: RecordedStepNames, current: Sequence[str], position: int
) -> int | None:
    """Index of the first step before the position that is known to be another one now."""
    begin = recorded.begin
    for index, name in enumerate(recorded.names[: max(0, position - begin)], begin):
        if index >= len(current) or current[index] != name:
            return index
    return None


def _described(
    recorded: RecordedStepNames, current: Sequence[str], position: int, difference: int | None
) -> str:
    """The names before and now, shortened where they are many."""
    around = position if difference is None else difference
    if isinstance(recorded, ListedStepNames):
        before = _listed(recorded.names, around)
    else:
        before = _bracketed(recorded.names, recorded.begin, recorded.count)
    change = f"after {position} of the steps {before}, but this flow has {_listed(current, around)}"
    if max(recorded.count, len(current)) <= MOST_NAMES:
        return change
    if difference is None:
        return f"{change} (none of the names that the checkpoint has shows the difference)"
    name = recorded.at(difference)
    now = repr(current[difference]) if difference < len(current) else "no step"
    return f"{change} (at index {difference} there was {name!r}, and is {now} now)"


def _listed(names: Sequence[str], around: int) -> str:
    """All names, or of many the ones around an index."""
    if len(names) <= MOST_NAMES:
        return _bracketed(names, 0, len(names))
    begin = max(0, min(around, len(names)) - BESIDE)
    return _bracketed(names[begin : begin + 2 * BESIDE], begin, len(names))


def _bracketed(names: Sequence[str], begin: int, count: int) -> str:
    """The names from an index on, of `count` names."""
    dots = ["..."] if begin > 0 else [], ["..."] if begin + len(names) < count else []
    shown = "[" + ", ".join([*dots[0], *names, *dots[1]]) + "]"
    return shown if len(names) == count else f"{shown} ({count} in all)"
