"""What becomes of a submitted run, and of one that is made due again, by its stored header."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiocheckpoint._model.compatibility import check_flow, check_not_terminated
from aiocheckpoint.errors import RunStatusError

if TYPE_CHECKING:
    from aiocheckpoint._model.header import Header
    from aiocheckpoint._model.request import Request
    from aiocheckpoint._model.step_names import StepNames

__all__ = ["is_to_be_queued", "refusal_to_requeue", "requeued"]


def is_to_be_queued(
    names: StepNames, header: Header | None, request: Request, location: str
) -> bool:
    """Whether a submitted state is stored as a new run. Else the stored run stays as it is.

    Args:
        names: The names of the flow's steps.
        header: The header of the stored run, or None where nothing is stored.
        request: The request to run it.
        location: Where the run is, for messages.

    Raises:
        FlowChangedError: The stored run is another flow's.
        RunTerminatedError: It was ended for good.
    """
    if header is None:
        return True
    if not request.migrates_from(header.version):
        check_flow(names, header, location)
    check_not_terminated(header, location)
    # A state that was stored by hand has no number, and is no result.
    return header.finished and not (request.once and header.number > 0)


def refusal_to_requeue(status: str, location: str) -> RunStatusError | None:
    """Why a run is not made due by hand. None if it is.

    Args:
        status: The status of the stored run.
        location: Where the run is, for messages.
    """
    reasons = {
        "finished": (
            f"the run in {location} is finished, and there is nothing left to do. submit() queues "
            "a new run under its id, and checkpoint= of run() does its steps again."
        ),
        "paused": (
            f"the run in {location} waits for the answer to its pause, and would come to the same "
            "pause again. Answer it by resume() with update=, or look again by run() without a "
            "state."
        ),
    }
    reason = reasons.get(status)
    return None if reason is None else RunStatusError(location, status, reason)


def requeued(
    header: Header, location: str, *, at: float, started: bool, actor: str | None = None
) -> Header:
    """The header of a run that is made due now: stopped if it has begun, else queued.

    What it broke on stays recorded until the run is past it.

    Args:
        header: The stored header.
        location: Where the run is, for messages.
        at: The time in seconds since the epoch.
        started: Whether its start is recorded beside the snapshot.
        actor: Who does so, or why.

    Raises:
        RunStatusError: The run is finished, or waits in a pause.
    """
    refused = refusal_to_requeue(header.status, location)
    if refused is not None:
        raise refused
    if _has_begun(header) or started:
        ended = header.ended("stopped", at=at, failure=header.failure, stopped_by="requeue")
        return replace(ended, actor=actor)
    return header.ended("queued", at=at, actor=actor)


def _has_begun(header: Header) -> bool:
    """Whether the snapshot shows that a step was begun."""
    if header.position or header.failure is not None or header.attempts:
        return True
    return header.status != "queued" and header.terminated_by != "hand"
