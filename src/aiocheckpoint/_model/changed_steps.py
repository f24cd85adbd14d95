"""The error for a flow whose steps are not the ones of the stored run."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

from aiocheckpoint._model.step_names import BESIDE, MOST_NAMES, ListedStepNames
from aiocheckpoint.errors import FlowChangedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.step_names import RecordedStepNames

__all__ = ["flow_changed", "other_flow", "step_gone"]


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
    change = _described(recorded, current, position, difference)
    return _make_error(location, header, current, position, change=change, difference=difference)


def step_gone(
    location: str, header: Header, current: tuple[str, ...], step: str
) -> FlowChangedError:
    """Make the error for a run that did not break, and is at a step that the flow lacks.

    Args:
        location: Where the snapshot is.
        header: Its header.
        current: The step names of the flow.
        step: The name of that step.
    """
    at = header.position
    change = _both_lists(header.step_names, current, at)
    return _make_error(location, header, current, at, change=change, difference=at, step=step)


def other_flow(
    location: str, header: Header, current: tuple[str, ...], *, migrates: bool = False
) -> FlowChangedError:
    """Make the error for a run of another flow of the same name.

    Args:
        location: Where the snapshot is.
        header: Its header.
        current: The step names of the flow.
        migrates: Whether `migrate=` takes the run on by hand, and recovery leaves it alone.
    """
    return _make_error(
        location,
        header,
        current,
        header.position,
        change=_both_lists(header.step_names, current, 0),
        difference=0,
        of_other_flow=True,
        migrates=migrates,
    )


class _Facts(TypedDict, total=False):
    """Attributes of a `FlowChangedError` that only some have."""

    step: str
    of_other_flow: bool
    migrates: bool


def _make_error(
    location: str,
    header: Header,
    current: tuple[str, ...],
    position: int,
    *,
    change: str,
    difference: int | None,
    **facts: Unpack[_Facts],
) -> FlowChangedError:
    """Make the error with the facts of the stored run."""
    return FlowChangedError(
        location,
        header.steps or (),
        current,
        position,
        header.excerpt,
        change=change,
        difference=difference,
        run_id=header.run_id,
        status=header.status,
        **facts,
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
    change = f"after {position} of {_both_lists(recorded, current, around)}"
    if max(recorded.count, len(current)) <= MOST_NAMES:
        return change
    if difference is None:
        return f"{change} (none of the names that the checkpoint has shows the difference)"
    name = recorded.at(difference)
    now = repr(current[difference]) if difference < len(current) else "no step"
    return f"{change} (at index {difference} there was {name!r}, and is {now} now)"


def _both_lists(recorded: RecordedStepNames, current: Sequence[str], around: int) -> str:
    """The names before and now, of many the ones around an index."""
    if isinstance(recorded, ListedStepNames):
        before = _listed(recorded.names, around)
    else:
        before = _bracketed(recorded.names, recorded.begin, recorded.count)
    return f"the steps {before}, but this flow has {_listed(current, around)}"


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
