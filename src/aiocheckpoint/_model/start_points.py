"""Decides where a run starts and where it stops, and which state it starts with."""

import operator
from collections.abc import Sequence
from typing import Literal, NamedTuple

from aiocheckpoint._model.compatibility import (
    check_flow,
    check_names,
    check_not_terminated,
    check_version,
    find_position,
)
from aiocheckpoint._model.header import Header, Status
from aiocheckpoint._model.request import Request
from aiocheckpoint._model.step_names import StepNames
from aiocheckpoint.errors import InvalidTypeError, InvalidValueError

__all__ = ["ReturnedStep", "Source", "StartPoint", "find_start_point", "find_step", "find_stop"]


Source = Literal["given", "stored", "kept", "empty"]

ReturnedStep = Literal["ignored", "optional", "required"]
"""What the result of `migrate=` is for the start of a run."""

_REASONS: dict[Status, str] = {
    "queued": "the run was queued, and has not begun",
    "stopped": "the last run was stopped there",
    "terminated": "the last run was terminated there",
    "finished": "the last run finished",
}


class StartPoint(NamedTuple):
    """The start of a run: index of the first step, and attributes as in `Plan`.

    The index is the number of steps where no step is left, or where `migrate=` has to name it.
    """

    first: int
    source: Source
    fresh: bool
    reason: str
    kept: Header | None = None
    migrates: int | None = None
    returned_step: ReturnedStep = "ignored"

    def holds_data(self, header: Header | None) -> bool:
        """Whether the snapshot that the run starts from, if any, holds `data`."""
        holder = None if self.fresh else self.kept or header
        return holder is not None and holder.holds_data


def find_start_point(
    names: StepNames,
    header: Header | None,
    request: Request,
    location: str,
    history: Sequence[Header],
) -> StartPoint:
    """Find the start, look for an older snapshot of it, and compare flow, version and names.

    Raises:
        RunTerminatedError: The run was ended for good, and no `checkpoint=` is given.
    """
    start = _chosen_start(names.all, header, request)
    if header is None:
        return start
    if request.checkpoint is None:
        is_migrated = _is_migrated(start, header, request)
        if not is_migrated:
            check_flow(names, header, location)
        check_not_terminated(header, location)
        if not (header.finished and start.source == "given"):
            check_version(header, request.version, location)
        if is_migrated:
            return _migrated(start, names, header)
        check_names(names, header, location, fresh=start.fresh)
    elif start.source == "stored":
        kept = _entry(names, start.first, header, history)
        if kept is not None:
            start = start._replace(source="kept", fresh=False, kept=kept)
        if _is_migrated(start, kept or header, request):
            return start._replace(migrates=(kept or header).version)
    return start


def _migrated(start: StartPoint, names: StepNames, header: Header) -> StartPoint:
    """The start of a run that `migrate=` takes on first, and that no `checkpoint=` places."""
    if start.fresh:
        return start._replace(first=0, migrates=header.version)
    found = find_position(names, header)
    return start._replace(
        first=len(names.all) if found is None else found,
        migrates=header.version,
        returned_step="required" if found is None else "optional",
    )


def _is_migrated(start: StartPoint, header: Header, request: Request) -> bool:
    """Whether `migrate=` takes over the state of a header. One that no run has left is as given."""
    of_run = start.source in {"stored", "kept"} and (header.number > 0 or not start.fresh)
    return of_run and request.migrates_from(header.version)


def _chosen_start(names: tuple[str, ...], header: Header | None, request: Request) -> StartPoint:
    """Find the start, apart from older snapshots."""
    unfinished = header is not None and not header.finished
    start = header.position if header is not None and unfinished else 0
    reason = _reason(header)
    if request.checkpoint is not None:
        chosen = find_step(names, request.checkpoint, "checkpoint")
        reason = f"checkpoint={request.checkpoint!r} says so"
    else:
        chosen = start
    # A run with an id, and a repeated request, mean the same run, even in its first step.
    named = header is not None and header.run_id is not None and request.checkpoint is None
    queued = header is not None and header.status == "queued"  # It takes no other state.
    same_run = header is not None and header.number > 0 and (request.once or named or queued)
    if header is not None and unfinished and (header.position or request.state is None or same_run):
        return StartPoint(chosen, "stored", fresh=False, reason=reason)
    if request.state is not None:
        return StartPoint(chosen, "given", fresh=True, reason=reason)
    source: Source = "empty" if header is None else "stored"
    return StartPoint(chosen, source, fresh=True, reason=reason)


def _entry(
    names: StepNames, start: int, header: Header | None, history: Sequence[Header]
) -> Header | None:
    """Find the newest snapshot on entry to a step, where it is not the stored one itself."""
    if header is not None and header.is_at(names, start):
        return None
    return next((one for one in history if one.is_at(names, start)), None)


def _reason(header: Header | None) -> str:
    if header is None:
        return "nothing is stored yet"
    if header.status == "paused":
        # Without the reason: a user's text, and plans are logged.
        return f"the last run was paused there (pause {header.pause_number})"
    if header.status in _REASONS:
        return _REASONS[header.status]
    if header.failure is None:
        return "the last run got that far"
    if header.status == "running":
        return f"the last run ended between attempts at {header.failure.step!r}"
    verb = "was cancelled" if header.status == "cancelled" else "broke"
    return f"the last run {verb} in {header.failure.step!r} ({header.failure.part})"


def find_step(
    names: tuple[str, ...], wanted: int | str, argument: str, *, may_show: bool = True
) -> int:
    """Find the index of the step that `wanted` names, by name or index.

    Args:
        names: The names of all steps.
        wanted: The name or index.
        argument: What `wanted` is, for messages.
        may_show: Whether a message may show `wanted`. It may be a value of the state by mistake.

    Raises:
        InvalidTypeError: `wanted` is neither a string nor an integer.
        InvalidValueError: There is no such step.
    """
    if isinstance(wanted, str):
        if wanted in names:
            return names.index(wanted)
    elif isinstance(wanted, bool) or not hasattr(wanted, "__index__"):
        kind = type(wanted).__name__
        raise InvalidTypeError(f"{argument} must be a step's index or name, not a {kind}.")
    elif 0 <= operator.index(wanted) < len(names):
        return operator.index(wanted)
    steps = ", ".join(f"{index}: {name!r}" for index, name in enumerate(names))
    shown = (
        f"{argument}={wanted!r}" if may_show else f"{argument}, of type {type(wanted).__name__},"
    )
    raise InvalidValueError(f"{shown} is no step of this flow. Its steps are {steps}.")


def find_stop(names: tuple[str, ...], start: int, until: int | str | None) -> int:
    if until is None:
        return len(names)
    last = find_step(names, until, "until")
    if last < start:
        at = repr(names[start]) if start < len(names) else "the end"
        raise InvalidValueError(
            f"until={until!r} is before {at}, where the run starts. Choose a later step, or "
            f"run {names[last]!r} again with checkpoint={names[last]!r}."
        )
    return last + 1
