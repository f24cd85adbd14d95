"""Whether a stored run is one that this flow goes on with: its version, its flow, its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocheckpoint._model.changed_steps import flow_changed, other_flow, step_gone
from aiocheckpoint.errors import FlowVersionError, RunTerminatedError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._model.step_names import StepNames
    from aiocheckpoint.errors import CheckpointError

__all__ = [
    "check_flow",
    "check_names",
    "check_not_terminated",
    "check_version",
    "find_position",
    "is_of_other_flow",
    "refusal_in_recovery",
]

_WAITING = frozenset({"running", "stopped", "paused"})
"""The statuses of runs that did not break: the step at which they stand is still to be done. A
queued run stands at none, and so begins with the first step of the flow as it is by then."""
_BY_HAND = frozenset({"until", "patch"})
"""What stops a run at a place that a person chose."""


def check_flow(names: StepNames, header: Header, location: str) -> None:
    """Refuse a run that is another flow's, see `is_of_other_flow`.

    Raises:
        FlowChangedError: It is.
    """
    if is_of_other_flow(names, header):
        raise other_flow(location, header, names.all)


def is_of_other_flow(names: StepNames, header: Header) -> bool:
    """Whether a run with an id is another flow's of the same name.

    It has finished a step, or its flow had several, and it has no step name in common with this
    flow. A flow without steps is refused elsewhere. Of a flow with more than 100 steps, the names
    that its header has are compared.
    """
    if header.run_id is None or not header.number or not names.all:
        return False
    recorded = header.step_names
    got_on = header.position > 0 or header.finished
    if recorded.shares_name(names) or not (got_on or recorded.count > 1):
        return False
    return header.excerpt is None or names.unordered.isdisjoint(header.durations)


def check_not_terminated(header: Header, location: str) -> None:
    """Refuse a run that was ended for good.

    Raises:
        RunTerminatedError: It was.
    """
    if header.status == "terminated":
        raise RunTerminatedError(
            location, run_id=header.run_id, reason=header.termination, by=header.terminated_by
        )


def check_version(header: Header, version: int, location: str) -> None:
    """Refuse a run that a newer version of the flow has stored.

    Raises:
        FlowVersionError: It has.
    """
    if header.version > version:
        raise FlowVersionError(location, header.run_id, header.version, version)


def check_names(names: StepNames, header: Header, location: str, *, fresh: bool) -> None:
    """Compare the steps of a stored run with those of the flow.

    Args:
        names: The names of the flow's steps.
        header: The header of the run.
        location: Where it is, for messages.
        fresh: Whether the run is not resumed: a new one takes its place.

    Raises:
        FlowChangedError: The steps before the position are not the ones that ran. Or the run has an
            id, did not break, and is at a step that the flow lacks.
    """
    if fresh:
        return
    if not header.matches_prefix(names, header.position):
        raise flow_changed(location, header, names.all, header.position)
    step = header.next_step
    if _keeps_step(header) and step is not None and step not in names.all:
        raise step_gone(location, header, names.all, step)


def refusal_in_recovery(
    names: StepNames, header: Header, request: Request, location: str
) -> CheckpointError | None:
    """The error for a run that recovery leaves to others: a newer version's, or another flow's.

    By hand, `migrate=` takes an older run that shares no step name on. Recovery does not: of two
    services that share a place and a name by mistake, one would do the work of the other.
    """
    if is_of_other_flow(names, header):
        migrates = request.migrates_from(header.version)
        return other_flow(location, header, names.all, migrates=migrates)
    if names.all and header.version > request.version:
        return FlowVersionError(location, header.run_id, header.version, request.version)
    return None  # A flow without steps is refused, not the run.


def find_position(names: StepNames, header: Header) -> int | None:
    """Find the step of a flow of a newer version at which a stored run stands.

    Returns:
        Its index. The step of the same name, where the steps before it have changed. The step at
        the same index, where no step has that name. None where there is none at that index.
    """
    position, step = header.position, header.next_step
    if header.matches_prefix(names, position):
        return position
    if step in names.all:
        return names.all.index(step)
    return position if position < len(names.all) else None


def _keeps_step(header: Header) -> bool:
    """Whether the run goes on only in a flow that has the step at which it stands."""
    by_hand = header.status == "stopped" and header.stopped_by in _BY_HAND
    broke = header.stopped_by == "requeue" and header.failure is not None
    return header.run_id is not None and header.status in _WAITING and not (by_hand or broke)
